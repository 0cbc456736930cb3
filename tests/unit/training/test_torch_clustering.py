"""Clustering in PyTorch finds what the gateway finds; the folders that hold it are complete."""

from __future__ import annotations

import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from service import signature
from service.domain import Category, Prediction
from service.errors import BackendFailed, BadParameter
from service.postprocess import calibration, clustering, lookup, seeds
from service.postprocess.extract import extract, label
from service.postprocess.labelled import ExtractOptions, Labelled
from service.recipe import PARAMETER, Recipe
from tests.live import ROOT
from training.data.synthetic import NucleiDataset, SticksDataset
from training.deployment.export import ExportError, open_artefact
from training.deployment.repository import check_repository
from training.deployment.server_clustering import FILES, write_clustering
from training.deployment.server_config import read_config
from training.deployment.server_model import clustering as theirs
from training.deployment.server_model.clustering import instances
from training.metrics.matching import match, overlap
from training.scoring.decoding import as_rgb

SCENES = {
    "nuclei": [NucleiDataset(count=1, seed=s, size=160)[0].image for s in range(3)],
    "sticks": [SticksDataset(count=1, seed=s, size=128)[0].image for s in range(2)],
}


def by_server(prediction: Prediction, recipe: Recipe) -> Prediction:
    """Return what a server that clusters would send."""
    labels, scores, classes = instances(
        torch.from_numpy(prediction.embedding[None]),
        torch.from_numpy(prediction.foreground_logits[None]),
        asdict(recipe),
    )
    nothing = np.empty((0, 0, 0), np.float16)
    names = (spec.name for spec in signature.CLUSTERED)
    parts = (part[0].numpy() for part in (labels, scores, classes))
    return Prediction(nothing, nothing, dict(zip(names, parts, strict=True)))


def clustered(recipe: Recipe) -> Recipe:
    return replace(recipe, clustered=True, score_calibration=())


def blocks(classes: int = 1) -> tuple[Prediction, Recipe]:
    """Return four separate squares, those on the right of the last class."""
    embedding = np.zeros((2, 64, 64), np.float16)
    embedding[0, :, 32:], embedding[1, 32:] = 6.0, 7.0
    embedding += np.random.default_rng(0).normal(0, 0.1, embedding.shape).astype(np.float16)
    logits = np.full((classes, 64, 64), -9.0, np.float16)
    for c, left in ((0, 4), (classes - 1, 36)):
        for top in (4, 36):
            logits[c, top : top + 24, left : left + 24] = 9.0
    recipe = Recipe(
        method="discriminative",
        embedding_size=2,
        classes=tuple(Category(i + 1, f"class {i}") for i in range(classes)),
        size_multiple=1,
        decoder={"bandwidth": 1.5, "min_pixels": 20},
    )
    return Prediction(embedding, logits), recipe


def same(first: Labelled, second: Labelled) -> bool:
    pair = overlap(first.labels, second.labels)
    return first.scores.size == second.scores.size and match(pair, 0.999).f1 == 1.0


@pytest.mark.parametrize("curve", [(), (0.5, 2.0, -1.0)])
@pytest.mark.parametrize("classes", [1, 2])
def test_what_is_apart_is_divided_and_scored_as_in_the_gateway(
    classes: int, curve: tuple[float, ...]
) -> None:
    prediction, recipe = blocks(classes)
    recipe = replace(recipe, score_calibration=curve)
    ours = extract(prediction, recipe, (64, 64))
    theirs = extract(by_server(prediction, recipe), clustered(recipe), (64, 64))
    assert match(overlap(ours.labels, theirs.labels), 0.999).tp == ours.count == theirs.count
    own, other = (
        {i.bbox_xywh: (i.category, i.score) for i in found.instances} for found in (ours, theirs)
    )
    assert own.keys() == other.keys()
    for box, (category, score) in own.items():
        assert other[box][0] == category
        assert other[box][1] == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize("name", ["nuclei", "sticks"])
@pytest.mark.parametrize("index", [0, 1])
def test_shipped_models_get_the_masks_of_the_gateway(name: str, index: int) -> None:
    artefact = open_artefact(ROOT / "model_repository" / name)
    image = as_rgb(SCENES[name][index])
    prediction = artefact.predict(image)
    size = (image.shape[0], image.shape[1])
    ours = label(prediction, artefact.recipe, size)
    theirs = label(by_server(prediction, artefact.recipe), clustered(artefact.recipe), size)
    assert ours.scores.size > 0
    assert same(ours, theirs)
    assert np.sort(theirs.scores) == pytest.approx(np.sort(ours.scores), abs=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_vectors_without_gaps_are_divided_where_the_gateway_divides_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(-4.0, 4.0, (4, 5, 2)).astype(np.float32)
    smooth = cv2.resize(coarse, (90, 70), interpolation=cv2.INTER_CUBIC)
    _, recipe = blocks()
    prediction = Prediction(
        smooth.transpose(2, 0, 1).astype(np.float16), np.full((1, 70, 90), 9.0, np.float16)
    )
    ours = label(prediction, recipe, (70, 90))
    theirs = label(by_server(prediction, recipe), clustered(recipe), (70, 90))
    assert ours.scores.size > 3
    assert same(ours, theirs)


def test_an_object_that_the_lattice_misses_is_found() -> None:
    prediction, recipe = blocks()
    # Of 128 x 128 pixels every second is sampled: a block between the samples is met by none.
    embedding = np.zeros((2, 128, 128), np.float16)
    embedding[:, :64, :64] = prediction.embedding
    logits = np.full((1, 128, 128), -9.0, np.float16)
    logits[:, :64, :64] = prediction.foreground_logits
    logits[0, 101, 71:119:1], embedding[0, 101, 71:119] = 9.0, 20.0
    prediction = Prediction(embedding, logits)
    found = label(by_server(prediction, recipe), clustered(recipe), (128, 128))
    assert same(found, label(prediction, recipe, (128, 128)))
    assert found.scores.size == 5


def test_pixels_that_are_objects_by_themselves_are_found_where_a_recipe_has_them() -> None:
    prediction, recipe = blocks()
    recipe = replace(recipe, decoder={"bandwidth": 1.5, "min_pixels": 1})
    # Between the samples of the lattice, and far from each other.
    embedding = np.zeros((2, 128, 128), np.float16)
    embedding[:, :64, :64] = prediction.embedding
    logits = np.full((1, 128, 128), -9.0, np.float16)
    logits[:, :64, :64] = prediction.foreground_logits
    for number in range(6):
        y, x = 81 + 2 * (number // 3), 81 + 6 * (number % 3)
        logits[0, y, x], embedding[0, y, x] = 9.0, 20.0 + 4 * number
    prediction = Prediction(embedding, logits)
    found = label(by_server(prediction, recipe), clustered(recipe), (128, 128))
    assert same(found, label(prediction, recipe, (128, 128)))
    assert found.scores.size == 4 + 6


def test_bytes_are_read_with_their_scales() -> None:
    prediction, recipe = blocks()
    slope = ((0.25, 0.0), (0.0, 0.25))
    place = np.mgrid[:64, :64] * np.float32(0.25)
    rest = prediction.embedding.astype(np.float32) - place
    stored = np.rint(rest / 0.2 + 128).astype(np.uint8)
    quantised = Prediction(stored, prediction.foreground_logits)
    own = replace(recipe, embedding_scale=(0.2, 0.2), embedding_slope=slope)
    assert same(
        label(by_server(quantised, own), clustered(own), (64, 64)),
        label(quantised, own, (64, 64)),
    )


@pytest.mark.parametrize("joins", [{}, {"join_below": 1.0}], ids=["alone", "joined"])
@pytest.mark.parametrize("value", [-9.0, np.nan])
def test_an_image_without_foreground_has_no_instances(
    value: float, joins: dict[str, float]
) -> None:
    prediction, recipe = blocks()
    recipe = replace(recipe, decoder={**recipe.decoder, **joins})
    empty = Prediction(prediction.embedding, np.full_like(prediction.foreground_logits, value))
    assert not extract(by_server(empty, recipe), clustered(recipe), (64, 64)).instances


def test_a_pixel_without_a_logit_is_background_to_the_server_as_well() -> None:
    prediction, recipe = blocks()
    prediction.foreground_logits[0, 3, 10] = np.nan
    found = label(by_server(prediction, recipe), clustered(recipe), (64, 64))
    assert found.scores.size == 4
    assert np.isfinite(found.scores).all()


def test_images_of_a_batch_do_not_touch_each_other() -> None:
    prediction, recipe = blocks()
    embedding = torch.from_numpy(np.stack([prediction.embedding, prediction.embedding[:, ::-1]]))
    logits = torch.from_numpy(np.stack([prediction.foreground_logits * -1] * 2))
    logits[1] = torch.from_numpy(prediction.foreground_logits.copy())
    labels, scores, classes = instances(embedding, logits, asdict(recipe))
    assert labels.shape == (2, 64, 64)
    assert labels.dtype == torch.uint16
    assert scores.shape == classes.shape
    alone, _, _ = instances(embedding[1:], logits[1:], asdict(recipe))
    np.testing.assert_array_equal(labels[1].numpy(), alone[0].numpy())


def test_each_image_of_a_batch_is_clustered_without_its_padding() -> None:
    prediction, recipe = blocks()
    embedding = torch.from_numpy(np.stack([prediction.embedding] * 2))
    logits = torch.from_numpy(np.stack([prediction.foreground_logits] * 2))
    sizes = [(64, 50), (40, 64)]
    labels, scores, classes = instances(embedding, logits, asdict(recipe), sizes)
    assert labels.shape == (2, 64, 64)
    for i, (height, width) in enumerate(sizes):
        alone = instances(
            embedding[:1, :, :height, :width], logits[:1, :, :height, :width], asdict(recipe)
        )
        expected = np.zeros((64, 64), np.uint16)
        expected[:height, :width] = alone[0][0].numpy()
        np.testing.assert_array_equal(labels[i].numpy(), expected)
        assert scores[i].tolist() == alone[1][0].tolist()
        assert classes[i].tolist() == alone[2][0].tolist()


def test_sizes_of_fewer_images_than_there_are_are_a_failure() -> None:
    prediction, recipe = blocks()
    embedding = torch.from_numpy(np.stack([prediction.embedding] * 2))
    logits = torch.from_numpy(np.stack([prediction.foreground_logits] * 2))
    with pytest.raises(ValueError, match="shorter"):
        instances(embedding, logits, asdict(recipe), [(64, 64)])


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (ExtractOptions(min_area=577), 0),
        (ExtractOptions(min_area=576), 4),
        (ExtractOptions(class_ids=frozenset({2})), 2),
        (ExtractOptions(max_instances=1), 1),
    ],
    ids=["too small", "just large enough", "one class", "one"],
)
def test_what_a_caller_may_ask_for_holds(options: ExtractOptions, count: int) -> None:
    prediction, recipe = blocks(2)
    found = extract(by_server(prediction, recipe), clustered(recipe), (64, 64), options)
    assert len(found.instances) == count
    assert found.labels.max() == count


def test_instances_that_lie_in_the_padding_are_left_out() -> None:
    prediction, recipe = blocks()
    found = extract(by_server(prediction, recipe), clustered(recipe), (64, 32))
    assert found.labels.shape == (64, 32)
    assert [instance.id for instance in found.instances] == [1, 2]


def test_what_padding_leaves_too_little_of_is_left_out_unless_it_is_asked_for() -> None:
    prediction, recipe = blocks()
    recipe = replace(recipe, decoder={"bandwidth": 1.5, "min_pixels": 25})
    sent = by_server(prediction, recipe)  # the squares on the right are one column of 24 pixels
    assert len(extract(sent, clustered(recipe), (64, 37)).instances) == 2
    least = ExtractOptions(min_area=24)
    assert len(extract(sent, clustered(recipe), (64, 37), least).instances) == 4


@pytest.mark.parametrize(
    "options", [ExtractOptions(bandwidth=1.0), ExtractOptions(foreground_threshold=0.3)]
)
def test_what_the_server_decides_cannot_be_asked_for(options: ExtractOptions) -> None:
    prediction, recipe = blocks()
    with pytest.raises(BadParameter, match="inference server"):
        extract(by_server(prediction, recipe), clustered(recipe), (64, 64), options)


def test_labels_that_do_not_cover_the_image_are_a_failure() -> None:
    prediction, recipe = blocks()
    with pytest.raises(BackendFailed, match="do not cover"):
        extract(by_server(prediction, recipe), clustered(recipe), (65, 64))


def test_two_folders_are_written_and_carry_the_recipe(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "model_repository" / "nuclei", tmp_path / "nuclei")
    stage, whole = write_clustering(tmp_path / "nuclei")
    assert sorted(path.name for path in (stage / "1").iterdir()) == sorted(FILES)
    config = read_config(whole)
    recipe = Recipe.from_json(config.parameters[PARAMETER].string_value)
    assert recipe.clustered
    assert recipe.outputs == signature.CLUSTERED
    assert [step.model_name for step in config.ensemble_scheduling.step] == [
        "nuclei",
        "nuclei-clustering",
    ]
    assert read_config(stage).dynamic_batching.priority_levels == 2


def test_the_repository_with_them_is_in_order(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "model_repository" / "nuclei", tmp_path / "nuclei")
    stage, whole = write_clustering(tmp_path / "nuclei")
    assert check_repository(tmp_path) == {"nuclei": [], stage.name: [], whole.name: []}
    shutil.rmtree(stage)
    assert check_repository(tmp_path)[whole.name] == [
        "its step 'nuclei-clustering' is no model of this repository"
    ]


def test_a_method_that_clusters_otherwise_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "nuclei"
    shutil.copytree(ROOT / "model_repository" / "nuclei", folder)
    path = folder / "config.pbtxt"
    text = re.sub(r'\\"join_\w+\\":[0-9.]+,', "", path.read_text())
    path.write_text(text.replace("discriminative", "associative"))
    with pytest.raises(ExportError, match="not for associative"):
        write_clustering(folder)


def test_the_constants_are_the_gateways() -> None:
    here = (theirs.ROUNDS, theirs.REACH, theirs.LOOSE, theirs.APART, theirs.OUTWEIGHS)
    assert (*here, theirs.FEW, theirs.NEVER_SURE) == (
        clustering.ROUNDS,
        clustering.REACH,
        clustering.LOOSE,
        clustering.APART,
        seeds.OUTWEIGHS,
        lookup.FEW,
        calibration.NEVER_SURE,
    )
