"""The models in model_repository/: intact, carded, and as good as their cards say."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest

from service.imaging.geometry import fit
from service.masks.rle import decode
from training.cli import main
from training.data.synthetic import NucleiDataset, SticksDataset
from training.deployment.export import open_artefact
from training.metrics.pieces import cut_and_kept
from training.metrics.score import Score, score_labels
from training.scoring.decoding import as_rgb, read, samples, segment

ROOT = Path(__file__).parents[2]
REPOSITORY = ROOT / "model_repository"
MODELS = sorted(path.parent for path in REPOSITORY.glob("*/config.pbtxt"))

SHIPPED = pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)


def test_the_two_shipped_models_are_there() -> None:
    assert {"nuclei", "sticks"} <= {folder.name for folder in MODELS}


@SHIPPED
def test_the_network_is_the_one_its_recipe_names(folder: Path) -> None:
    data = (folder / "1" / "model.onnx").read_bytes()
    recipe = open_artefact(folder).recipe
    assert hashlib.sha256(data).hexdigest() == recipe.network_sha256
    assert len(data) < 8 * 2**20  # it lies in the repository


@SHIPPED
def test_the_golden_image_gets_its_golden_answer(folder: Path) -> None:
    artefact = open_artefact(folder)
    pixels = cv2.imread(str(folder / "golden.png"), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    labels = segment(artefact, pixels.astype(np.uint8), artefact.recipe)
    golden = artefact.recipe.golden
    assert golden is not None
    expected = np.zeros(labels.shape, np.int32)
    for number, entry in enumerate(golden.instances, start=1):
        expected[decode(entry["segmentation"])] = number
    assert score_labels("golden", expected, labels).matchings[0.9].ap == 1


@SHIPPED
def test_the_card_states_data_licence_command_and_figures(folder: Path) -> None:
    card = (folder / "MODEL_CARD.md").read_text()
    assert any(words in card for words in ("Data CC0", "Data MIT", "No outside data"))
    assert f"python -m training train training/configs/{folder.name}.toml" in card
    assert "| AP, mean over images |" in card


@SHIPPED
@pytest.mark.parametrize("grey", [0, 128, 255])
@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_nothing_is_found_where_nothing_is(folder: Path, grey: int, noise: float) -> None:
    artefact = open_artefact(folder)
    sheet = np.random.default_rng(1).normal(grey, noise, (200, 256, 1)).clip(0, 255)
    image = sheet.astype(np.uint8).repeat(3, axis=2)
    assert not segment(artefact, image, artefact.recipe).any()


def test_sticks_finds_fresh_sticks() -> None:
    artefact = open_artefact(REPOSITORY / "sticks")
    fresh = SticksDataset(count=12, seed=77, min_objects=4, max_objects=8)
    score = Score(
        tuple(
            score_labels(s.name, s.labels, segment(artefact, s.image, artefact.recipe))
            for s in samples(fresh)
        )
    )
    assert score.sbd > 0.9
    assert score.fbd > 0.97


@pytest.mark.parametrize("sticks", [1, 2, 3])
def test_sticks_finds_as_many_as_there_are_where_there_are_few(sticks: int) -> None:
    artefact = open_artefact(REPOSITORY / "sticks")
    scenes = SticksDataset(count=8, seed=77, min_objects=sticks, max_objects=sticks)
    found = [segment(artefact, s.image, artefact.recipe).max() for s in samples(scenes)]
    assert found == [sticks] * 8


def test_a_stick_cut_in_two_by_another_keeps_one_id() -> None:
    artefact = open_artefact(REPOSITORY / "sticks")
    scenes = samples(SticksDataset(count=40, seed=77, min_objects=2, max_objects=6))
    found = [cut_and_kept(s.labels, segment(artefact, s.image, artefact.recipe)) for s in scenes]
    cut, kept = (sum(counts) for counts in zip(*found, strict=True))
    assert cut > 20
    assert kept >= 0.9 * cut  # slivers included, whose owner can hardly be told


@pytest.mark.parametrize("radius_px", [9.0, 14.0])
def test_nuclei_finds_drawn_nuclei_of_several_sizes(radius_px: float) -> None:
    artefact = open_artefact(REPOSITORY / "nuclei")
    drawn = NucleiDataset(count=3, seed=5, min_objects=15, max_objects=25, radius_px=radius_px)
    score = Score(
        tuple(
            score_labels(s.name, s.labels, segment(artefact, s.image, artefact.recipe))
            for s in samples(drawn)
        )
    )
    assert score.ap(0.5) > 0.8


def test_padding_does_not_change_the_masks_of_nuclei() -> None:
    artefact = open_artefact(REPOSITORY / "nuclei")
    image = NucleiDataset(count=1, seed=9, min_objects=25, max_objects=25)[0].image
    padded = fit(as_rgb(image), multiple=320)
    alone = segment(artefact, image, artefact.recipe)
    within = read(artefact.predict(padded), artefact.recipe, (256, 256))
    assert padded.shape == (320, 320, 3)
    assert score_labels("padded", alone, within).matchings[0.8].ap > 0.9


def example_commands() -> list[tuple[str, str]]:
    """Read name and command of every example from their README."""
    lines = (ROOT / "examples" / "README.md").read_text().splitlines()
    cells = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in lines if "`" in line]
    return [(cell[0], cell[2]) for cell in cells if len(cell) == 3]


@pytest.mark.parametrize(("name", "command"), example_commands())
def test_an_example_is_drawn_again_byte_for_byte(tmp_path: Path, name: str, command: str) -> None:
    words = shlex.split(command)
    words[words.index("--out") + 1] = str(tmp_path / name)
    assert main(words[3:]) == 0
    assert (tmp_path / name).read_bytes() == (ROOT / "examples" / name).read_bytes()
