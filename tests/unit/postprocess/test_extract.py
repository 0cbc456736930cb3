from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import signature
from service.domain import Category, Method, Prediction
from service.errors import BackendFailed
from service.masks.rle import decode, encode_labels
from service.postprocess.calibration import calibrated
from service.postprocess.extract import extract, find
from service.postprocess.foreground import foreground_masks
from service.postprocess.labelled import ExtractOptions
from service.postprocess.scores import expected_iou
from service.recipe import Recipe
from service.warmup import compile_kernels
from tests.strategies import Scene, discs, embed, same_partition, scenes

RECIPE = Recipe(
    method="discriminative",
    embedding_size=4,
    classes=(Category(1, "cell"),),
    size_multiple=8,
    decoder={"bandwidth": 1.5, "min_pixels": 1},
)
TWO_CLASSES = replace(RECIPE, classes=(Category(1, "cell"), Category(7, "seed")))


def scene_of(seed: int = 0) -> Scene:
    rng = np.random.default_rng(seed)
    return embed(discs(60, 45, 8, rng), 4, rng)


def padded(array: npt.NDArray[Any], value: float) -> npt.NDArray[Any]:
    """Pad the right and the bottom, as the gateway does."""
    return np.pad(array, ((0, 0), (0, 4), (0, 3)), constant_values=value)


def predicted(scene: Scene, dtype: type[np.floating[Any]] = np.float16) -> Prediction:
    """What a perfect network says of a scene, padding included."""
    logits = np.where(scene.foreground, 4.0, -4.0)[None]
    return Prediction(padded(scene.embedding, 9.0).astype(dtype), padded(logits, 9.0).astype(dtype))


@given(scenes(longest=50))
def test_instances_are_those_of_the_scene(scene: Scene) -> None:
    found = extract(predicted(scene, np.float32), RECIPE, scene.labels.shape)
    assert same_partition(found.labels, scene.labels)


@given(st.integers(0, 10_000))
def test_instances_describe_the_label_image(seed: int) -> None:
    scene = scene_of(seed)
    found = extract(predicted(scene), RECIPE, (60, 45))
    assert [instance.id for instance in found.instances] == list(range(1, found.labels.max() + 1))
    assert [instance.rle for instance in found.instances] == encode_labels(found.labels)
    areas = np.bincount(found.labels.ravel())[1:]
    assert [instance.area_px for instance in found.instances] == areas.tolist()
    scores = [instance.score for instance in found.instances]
    assert scores == sorted(scores, reverse=True)
    assert all(0.0 <= score <= 1.0 for score in scores)


def test_what_is_asked_for_later_or_twice_is_the_same() -> None:
    at_once, later = (extract(predicted(scene_of()), RECIPE, (60, 45)) for _ in range(2))
    labels = at_once.labels.copy()
    assert later.instances == at_once.instances
    assert later.count == len(at_once.instances) > 1
    assert np.array_equal(later.labels, labels)
    assert np.array_equal(later.labels, labels)
    assert later.instances == at_once.instances


def test_equal_scores_are_ordered_by_first_pixel() -> None:
    labels = np.zeros((9, 9), np.int32)
    labels[1:3, 6:9] = 1
    labels[2:4, 1:3] = 2
    labels[6:8, 4:6] = 3
    flat = Scene((labels * 5.0)[None].repeat(4, 0).astype(np.float32), labels)
    found = extract(predicted(flat), RECIPE, (9, 9))
    assert np.array_equal(found.labels, labels)


def test_the_same_prediction_gives_the_same_answer() -> None:
    first, second = (extract(predicted(scene_of()), RECIPE, (60, 45)) for _ in range(2))
    assert first.instances == second.instances


def test_the_score_is_tightness_times_foreground_probability() -> None:
    embedding = np.zeros((1, 1, 2), np.float32)
    embedding[0, 0, 1] = 1.0
    prediction = Prediction(embedding, np.full((1, 1, 2), 2.0, np.float32))
    [instance] = extract(prediction, RECIPE, (1, 2)).instances
    assert instance.score == pytest.approx(np.exp(-((0.5 / 1.5) ** 2)) / (1.0 + np.exp(-2.0)))


def test_a_score_is_calibrated_and_decides_what_is_kept() -> None:
    scene = scene_of()
    prediction, size = predicted(scene), scene.labels.shape
    figures = find(prediction, RECIPE, size)
    plain = extract(prediction, RECIPE, size).scores
    product = figures.confidence * figures.overlap
    assert plain.tolist() == pytest.approx(sorted(product, reverse=True))
    curve = replace(RECIPE, score_calibration=(0.5, 2.0, -1.0))
    found = extract(prediction, curve, size)
    expected = calibrated(figures.confidence, figures.overlap, (0.5, 2.0, -1.0))
    assert found.scores.tolist() == pytest.approx(sorted(expected, reverse=True))
    middle = float(np.median(expected))
    for recipe, options in (
        (curve, ExtractOptions(min_score=middle)),
        (replace(curve, min_score=middle), ExtractOptions()),
        (replace(curve, min_score=1.0), ExtractOptions(min_score=middle)),
    ):
        kept = extract(prediction, recipe, size, options)
        assert kept.count == np.count_nonzero(expected >= middle)
    assert extract(prediction, replace(curve, min_score=1.0), size).count == 0


@pytest.mark.parametrize(
    "options",
    [
        ExtractOptions(min_area=30),
        ExtractOptions(max_instances=3),
        ExtractOptions(min_score=0.965),
        ExtractOptions(class_ids=frozenset({2})),
    ],
    ids=["area", "count", "score", "class"],
)
def test_options_leave_out_and_never_change_what_stays(options: ExtractOptions) -> None:
    everything = extract(predicted(scene_of()), RECIPE, (60, 45))
    some = extract(predicted(scene_of()), RECIPE, (60, 45), options)
    kept = [instance.rle for instance in some.instances]
    expected = [
        instance.rle
        for instance in everything.instances
        if instance.area_px >= (options.min_area or 0)
        and instance.score >= (options.min_score or 0.0)
        and options.class_ids is None
    ][: options.max_instances]
    assert kept == expected
    assert len(kept) < len(everything.instances)


def test_a_wider_bandwidth_joins_instances() -> None:
    found = extract(predicted(scene_of()), RECIPE, (60, 45), ExtractOptions(bandwidth=1000.0))
    assert len(found.instances) == 1


def test_a_higher_threshold_asks_for_a_surer_foreground() -> None:
    options = ExtractOptions(foreground_threshold=0.99)
    assert extract(predicted(scene_of()), RECIPE, (60, 45), options).instances == ()


def test_classes_are_told_apart_and_never_overlap() -> None:
    scene = scene_of()
    logits = np.full((2, 60, 45), -4.0)
    logits[0, :30] = np.where(scene.foreground, 4.0, -4.0)[:30]
    logits[1, 26:] = np.where(scene.foreground, 5.0, -4.0)[26:]
    prediction = Prediction(scene.embedding, logits.astype(np.float16))
    found = extract(prediction, TWO_CLASSES, (60, 45))
    masks = np.stack([decode(instance.rle) for instance in found.instances])
    assert masks.sum(axis=0).max() == 1
    assert np.array_equal(np.any(masks, axis=0), scene.foreground)
    by_class = {
        c: np.asarray(
            masks[[instance.category.id == c for instance in found.instances]].any(axis=0)
        )
        for c in (1, 7)
    }
    assert not by_class[1][26:].any()
    assert not by_class[7][:26].any()
    only = extract(prediction, TWO_CLASSES, (60, 45), ExtractOptions(class_ids=frozenset({7})))
    assert {instance.category.name for instance in only.instances} == {"seed"}


@pytest.mark.parametrize("stride", [2, 4])
def test_a_coarse_embedding_is_read_with_the_full_foreground(stride: int) -> None:
    scene = scene_of()
    coarse = scene.embedding[:, ::stride, ::stride]
    logits = np.where(scene.foreground, 4.0, -4.0)[None]
    found = extract(Prediction(coarse, logits), replace(RECIPE, stride=stride), (60, 45))
    cells = scene.labels[::stride, ::stride].repeat(stride, axis=0).repeat(stride, axis=1)[:60, :45]
    seen = scene.foreground & (cells > 0)  # elsewhere the vector is not one of an object
    assert seen.sum() > 0.7 * scene.foreground.sum()
    assert same_partition(np.where(seen, found.labels, 0), np.where(seen, cells, 0))
    assert not found.labels[~scene.foreground].any()


@pytest.mark.parametrize("name", ["embedding", "foreground"])
def test_tensors_that_do_not_cover_the_image_are_the_backends_fault(name: str) -> None:
    prediction = predicted(scene_of())
    short = {
        "embedding": replace(prediction, embedding=prediction.embedding[:, :59]),
        "foreground": replace(prediction, foreground_logits=prediction.foreground_logits[:, :59]),
    }
    with pytest.raises(BackendFailed, match="does not cover"):
        extract(short[name], RECIPE, (60, 45))


@pytest.mark.parametrize("method", get_args(Method))
def test_every_method_is_decoded(method: Method) -> None:
    size = {"associative": 1, "spatial": 2}.get(method, 2)
    embedding = np.zeros((size, 16, 16), np.float16)
    embedding[0], embedding[-1, :, 8:] = 0.2, 5.0
    if method == "spatial":
        embedding[1] = (np.where(np.arange(16) < 8, 3.5, 11.5) - np.arange(16)) / 64.0
        embedding[0] = ((7.5 - np.arange(16)) / 64.0)[:, None]
    maps = 4 if method == "metric_learning" else 1
    prediction = Prediction(
        embedding,
        np.full((1, 16, 16), 3.0, np.float16),
        {
            signature.SEEDINESS: np.full((maps, 16, 16), 4.0, np.float16),
            signature.SIGMA: np.full((1, 16, 16), 0.48, np.float16),
        },
    )
    recipe = replace(RECIPE, method=method, decoder={"min_pixels": 2})
    found = extract(prediction, recipe, (16, 16))
    assert len(found.instances) == 2
    assert len(np.unique(found.labels[:, :8])) == len(np.unique(found.labels[:, 8:])) == 1


def test_kernels_are_compiled_ahead_for_every_method() -> None:
    compile_kernels()


@given(st.integers(0, 10_000), st.sampled_from([0.1, 0.5, 0.9]))
def test_masks_are_where_the_probability_exceeds_the_threshold(seed: int, threshold: float) -> None:
    logits = np.random.default_rng(seed).normal(scale=3.0, size=(1, 9, 7)).astype(np.float16)
    [mask] = foreground_masks(logits, threshold)
    probability = 1.0 / (1.0 + np.exp(-logits[0].astype(np.float64)))
    assert np.array_equal(mask, probability > threshold)


def test_no_logit_is_no_foreground() -> None:
    logits = np.array([[[np.nan, 1.0, -np.inf, np.inf]], [[2.0, np.nan, -1.0, 0.0]]])
    first, second = foreground_masks(logits, 0.5)
    assert first.tolist() == [[False, True, False, True]]
    assert second.tolist() == [[True, False, False, False]]


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
def test_every_half_precision_logit_is_compared_as_numpy_compares_it(threshold: float) -> None:
    logits = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(1, 256, 256)
    [mask] = foreground_masks(logits, threshold)
    limit = np.float32(np.log(threshold / (1.0 - threshold)))
    assert np.array_equal(mask, logits[0].astype(np.float32) > limit)


@pytest.mark.parametrize("threshold", [0.0, 1.0, np.nan])
def test_a_threshold_that_is_no_probability_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        foreground_masks(np.zeros((1, 2, 2), np.float32), threshold)


def test_logits_without_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="foreground logits"):
        foreground_masks(np.zeros((2, 2), np.float32), 0.5)


@given(st.integers(0, 10_000))
def test_the_expected_iou_counts_what_lies_free_around_an_instance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = discs(20, 31, 5, rng)
    logits = rng.normal(scale=20.0, size=labels.shape).astype(np.float32)
    with np.errstate(over="ignore"):
        probability = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    expected = []
    for k in range(1, int(labels.max()) + 1):
        own = labels == k
        around = (cv2.dilate(own.astype(np.uint8), cross) > 0) & (labels == 0)
        total = own.sum() + probability[around].sum()
        expected.append(probability[own].sum() / total)
    found = expected_iou(labels, logits, len(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)


def test_a_pixel_without_a_logit_is_background_to_the_score_as_well() -> None:
    labels = np.zeros((9, 9), np.int32)
    labels[2:7, 2:7] = 1
    logits = np.where(labels > 0, 9.0, -9.0).astype(np.float32)
    logits[1, 4] = -np.inf
    known = expected_iou(labels, logits, 1)
    logits[1, 4] = np.nan
    np.testing.assert_array_equal(expected_iou(labels, logits, 1), known)


def test_a_sharp_outline_is_worth_more_than_a_dim_one() -> None:
    labels = np.zeros((9, 9), np.int32)
    labels[2:7, 2:7] = 1
    sharp = np.where(labels > 0, 9.0, -9.0).astype(np.float32)
    dim = np.where(labels > 0, 9.0, -0.5).astype(np.float32)
    [much], [little] = expected_iou(labels, sharp, 1), expected_iou(labels, dim, 1)
    assert much == pytest.approx(1.0, abs=1e-3)
    assert little == pytest.approx(25 / (25 + 20 / (1 + np.exp(0.5))), abs=1e-3)
