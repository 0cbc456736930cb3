"""Degraded images: still images, with labels of what can still be seen."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from service.arrays import Float32, Int32
from training.config.data import AugmentConfig
from training.data import degradations
from training.data.dataset import IGNORE
from training.data.degradations import DEGRADATIONS, degrade
from training.data.marks import MARKS, Draw
from training.data.synthetic import NucleiDataset
from training.data.transforms import train_crop
from training.scoring.degraded import DegradedDataset

SCENES = NucleiDataset(count=1, size=96, min_objects=9, max_objects=9, radius_px=8)
SCENE = SCENES[0]
GREY = np.asarray(
    cv2.GaussianBlur((SCENE.labels > 0) * np.float32(150), (0, 0), 1) + 20, np.float32
)


def chance(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def degraded(name: str, strength: float, seed: int = 0) -> tuple[Float32, Int32]:
    return degrade(GREY, SCENE.labels, chance(seed), name, strength)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", DEGRADATIONS)
def test_what_comes_out_is_an_image_with_labels_of_the_same_objects(
    name: str, strength: float
) -> None:
    for image in (GREY, np.dstack([GREY] * 3), np.dstack([GREY, GREY * 0.5, GREY])):
        before, labels = image.copy(), SCENE.labels.copy()
        for seed in range(6):
            found, kept = degrade(image, labels, chance(seed), name, strength)
            assert found.shape[:2] == kept.shape == labels.shape
            assert found.ndim == 3 or image.ndim == 2
            assert found.dtype == np.float32
            assert np.array_equal(found, np.clip(np.rint(found), 0, 255))
            assert kept.dtype == np.int32
            changed = kept != labels
            assert np.isin(kept[changed], (0, IGNORE)).all()
            assert (labels[changed] > 0).all()
            again, _ = degrade(image, labels, chance(seed), name, strength)
            assert np.array_equal(found, again)
        assert np.array_equal(image, before)
        assert np.array_equal(labels, SCENE.labels)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_every_kind_changes_the_image_the_more_the_stronger(name: str) -> None:
    three = np.dstack([GREY] * 3)

    def change(strength: float) -> float:
        found = (degrade(three, SCENE.labels, chance(k), name, strength)[0] for k in range(9))
        return float(np.mean([np.abs(image - three).mean() for image in found]))

    assert change(0) > 0
    if name not in ("inverted", "dyes"):  # whose strength is another thing, or nothing
        assert change(0) < change(1)


@pytest.mark.parametrize("name", DEGRADATIONS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 70), (40, 2, 3)])
def test_images_of_any_size_and_without_contrast_can_be_degraded(
    name: str, shape: tuple[int, ...]
) -> None:
    for level in (0, 255):
        image = np.full(shape, level, np.float32)
        found, _ = degrade(image, np.zeros(shape[:2], np.int32), chance(), name, 1.0)
        assert found.shape[:2] == shape[:2]
        assert np.isfinite(found).all()


def test_inverting_turns_bright_into_dark() -> None:
    assert np.array_equal(degraded("inverted", 0.0)[0], np.rint(255 - GREY))


def test_colours_of_tissue_stay() -> None:
    tissue = np.dstack([GREY, GREY * 0.5, GREY * 0.9]).astype(np.float32)
    for name in ("dyes", "inverted"):
        found, _ = degrade(tissue, SCENE.labels, chance(), name, 1.0)
        assert np.array_equal(found, np.rint(tissue))


def test_noise_is_a_part_of_the_range() -> None:
    halves = np.full((400, 400), 50, np.float32)
    halves[:, 200:] = 150
    nothing = np.zeros(halves.shape, np.int32)
    for strength, least, most in ((0.0, 0.005, 0.035), (1.0, 0.05, 0.3)):
        for seed in range(6):
            found, _ = degrade(halves, nothing, chance(seed), "noise", strength)
            assert least * 100 < (found - halves).std() < most * 100


def test_a_pixel_far_below_the_others_is_still_a_number_with_noise() -> None:
    dim = np.full((64, 64), 100, np.float32)
    dim[::9, ::7] = 110
    dim[5, 5] = 0
    for seed in range(9):
        found, _ = degrade(dim, np.zeros(dim.shape, np.int32), chance(seed), "noise", 0.5)
        assert np.isfinite(found).all()


def test_hot_pixels_are_as_many_as_said() -> None:
    flat = np.full((400, 400), 40, np.float32)
    for strength, share in ((0.0, 5e-5), (1.0, 1.5e-2)):
        found, _ = degrade(flat, np.zeros(flat.shape, np.int32), chance(), "hot pixels", strength)
        usual = np.median(found)
        assert (found != usual).mean() == pytest.approx(share, rel=0.8)


def test_what_a_corner_hides_is_ground() -> None:
    image, labels = degraded("corners", 1.0)
    hidden = (SCENE.labels > 0) & (labels == 0)
    assert hidden.any()
    assert np.isin(image[hidden], (0, 255)).all()
    assert (labels >= 0).all()


@pytest.mark.parametrize("draw", MARKS)
def test_every_mark_can_be_seen(draw: Draw) -> None:
    mask = np.zeros((96, 80), np.uint8)
    for seed in range(20):
        draw(mask, chance(seed), 1.0)
    assert 0 < (mask > 127).mean() < 0.9


def test_what_a_mark_covers_is_no_object_and_no_ground_either() -> None:
    covered = 0
    for seed in range(20):
        _, labels = degraded("marks", 1.0, seed)
        ignored = labels == IGNORE
        covered += int(ignored.sum())
        assert (SCENE.labels[ignored] > 0).all()
        assert np.array_equal(labels[SCENE.labels == 0], SCENE.labels[SCENE.labels == 0])
    assert covered > 0


def test_an_object_outshines_the_others() -> None:
    image, labels = degraded("outshone", 1.0)
    means = [image[labels == i].mean() for i in range(1, labels.max() + 1)]
    assert max(means) > 3 * np.median(means)
    assert np.array_equal(labels, SCENE.labels)
    empty, _ = degrade(GREY, np.zeros(GREY.shape, np.int32), chance(), "outshone", 1.0)
    assert np.array_equal(empty, np.rint(GREY))


def test_chance_reaches_every_kind_and_two_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    strengths: list[float] = []

    def note(
        image: Float32, labels: Int32, rng: np.random.Generator, name: str, strength: float
    ) -> tuple[Float32, Int32]:
        names.append(name)
        strengths.append(strength)
        return image, labels

    monkeypatch.setattr(degradations, "degrade", note)
    for seed in range(200):
        degradations.degrade_at_random(GREY, SCENE.labels, chance(seed))
    assert set(names) == set(DEGRADATIONS)
    assert 230 < len(names) < 290
    assert min(strengths) < 0.05
    assert max(strengths) > 0.95


def test_crops_are_degraded_as_often_as_the_settings_say() -> None:
    plain = AugmentConfig(crop=64, warp=0, intensity=0)
    often = replace(plain, degrade=0.5)
    changed = 0
    for seed in range(60):
        image, _, _ = train_crop(SCENE, chance(seed), plain)
        other, labels, classes = train_crop(SCENE, chance(seed), often)
        changed += not np.array_equal(image, other)
        assert other.shape == (64, 64, 3)
        assert np.array_equal(np.unique(labels[labels > 0]), np.arange(1, labels.max() + 1))
        assert np.array_equal(classes, labels > 0)
    assert 18 <= changed <= 42


def test_a_data_set_is_degraded_the_same_way_every_time() -> None:
    noisy = DegradedDataset(SCENES, "noise", 0.5)
    assert len(noisy) == 1
    assert noisy[0].image.dtype == np.uint8
    assert np.array_equal(noisy[0].image, noisy[0].image)
    assert not np.array_equal(noisy[0].image, SCENE.image)
    other = NucleiDataset(count=2, size=96, min_objects=9, max_objects=9, radius_px=8)
    assert not np.array_equal(
        DegradedDataset(other, "corners", 0.5)[0].image == 0,
        DegradedDataset(other, "corners", 0.5)[1].image == 0,
    )
