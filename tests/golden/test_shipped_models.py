"""The models in model_repository/: intact, carded, and as good as their cards say."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest

from service.imaging.depth import scale_to_8_bits
from service.imaging.geometry import fit
from service.masks.rle import decode
from training.cli import main
from training.data.dataset import Sample
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


def two_discs(side: int, dtype: str, ground: float, contrast: float, noise: float) -> Sample:
    """Draw two discs of 21 px, blurred as by a lens, on a noisy field."""
    labels = np.zeros((side, side), np.int32)
    for number, centre in enumerate(((80, 60), (180, 150)), start=1):
        cv2.circle(labels, centre, 10, number, -1)
    seen = cv2.GaussianBlur((labels > 0).astype(np.float32), (0, 0), 1.5)
    grey = np.random.default_rng(3).normal(ground + contrast * seen, noise)
    data = grey.clip(0, np.iinfo(dtype).max).astype(dtype)
    pixels = data.astype(np.uint8) if dtype == "uint8" else scale_to_8_bits(data)[0]
    return Sample("two discs", pixels, labels)


@pytest.mark.parametrize("name", ["nuclei", "nuclei-fast"])
@pytest.mark.parametrize("side", [256, 512])
@pytest.mark.parametrize(
    ("dtype", "ground", "contrast", "noise"),
    [
        ("uint8", 230, -30, 2),
        ("uint8", 230, -90, 2),
        ("uint8", 12, 20, 1.5),
        ("uint8", 12, 240, 0.5),
        ("uint16", 200, 200, 10),
        ("uint16", 200, 4000, 10),
        ("uint16", 60_000, -20_000, 500),
    ],
)
def test_two_nuclei_on_a_wide_field_are_found_whole(
    name: str, side: int, dtype: str, ground: float, contrast: float, noise: float
) -> None:
    artefact = open_artefact(REPOSITORY / name)
    drawn = two_discs(side, dtype, ground, contrast, noise)
    labels = segment(artefact, as_rgb(drawn.image), artefact.recipe)
    score = score_labels(drawn.name, drawn.labels, labels)
    assert score.matchings[0.8].ap == 1


@pytest.mark.parametrize("name", ["nuclei", "nuclei-fast"])
@pytest.mark.parametrize("margin", [2, 30])
def test_a_black_margin_does_not_hide_pale_nuclei(name: str, margin: int) -> None:
    artefact = open_artefact(REPOSITORY / name)
    drawn = two_discs(256, "uint8", ground=230, contrast=-30, noise=2)
    drawn.image[:, -margin:] = 0
    labels = segment(artefact, as_rgb(drawn.image), artefact.recipe)
    assert score_labels(drawn.name, drawn.labels, labels).matchings[0.8].ap == 1


@pytest.mark.parametrize("name", ["nuclei", "nuclei-fast"])
@pytest.mark.parametrize("colour", [(0, 0, 1), (0, 1, 0), (1, 0, 0), (1, 0, 1)])
def test_the_colour_of_a_dye_makes_no_difference(name: str, colour: tuple[int, ...]) -> None:
    artefact = open_artefact(REPOSITORY / name)
    grey = as_rgb(NucleiDataset(count=1, seed=5, min_objects=20, max_objects=20)[0].image)
    tinted = grey * np.array(colour, np.uint8)
    expected, labels = (segment(artefact, image, artefact.recipe) for image in (grey, tinted))
    np.testing.assert_array_equal(labels, expected)


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
