"""Training crops: image and mask stay together, padding is ignored, chance is seeded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from training.config.data import AugmentConfig
from training.data.dataset import IGNORE, Sample
from training.data.transforms import consecutive, train_crop, vary_intensity

PLAIN = AugmentConfig(crop=64, warp=0, intensity=0)
WARPED = AugmentConfig(crop=64, warp=1, intensity=0)


def checkered(height: int, width: int) -> Sample:
    """An image whose grey value is ten times its label, in blocks of 16."""
    rows, columns = np.arange(height) // 16, np.arange(width) // 16
    labels = (rows[:, None] + columns[None, :]) % 5
    return Sample("checkered", (10 * labels).astype(np.uint8), labels.astype(np.int32))


@given(seed=st.integers(0, 2**32), height=st.integers(20, 150), width=st.integers(20, 150))
@settings(max_examples=25, deadline=None)
def test_flips_and_turns_keep_image_and_mask_together(seed: int, height: int, width: int) -> None:
    sample = checkered(height, width)
    image, labels, _ = train_crop(sample, np.random.default_rng(seed), PLAIN)
    assert image.shape == (64, 64, 3)
    ids = np.unique(image[:, :, 0][labels > 0])
    by_label = [np.unique(image[:, :, 0][labels == i]) for i in range(1, labels.max() + 1)]
    assert all(values.size == 1 for values in by_label)
    assert len(by_label) == ids.size
    assert np.all(image[labels == 0] == 0)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_warping_keeps_most_pixels_under_their_mask(seed: int) -> None:
    image, labels, _ = train_crop(checkered(200, 200), np.random.default_rng(seed), WARPED)
    inside = labels > 0
    right = [
        np.abs(image[:, :, 0][labels == i] - np.median(image[:, :, 0][labels == i])) < 5
        for i in range(1, labels.max() + 1)
    ]
    assert np.concatenate(right).mean() > 0.8
    assert inside.mean() > 0.4


def test_pixels_beyond_the_image_are_ignored() -> None:
    sample = Sample("small", np.full((32, 64), 9, np.uint8), np.ones((32, 64), np.int32))
    _, labels, _ = train_crop(sample, np.random.default_rng(0), PLAIN)
    assert (labels == IGNORE).mean() == pytest.approx(0.5)
    assert (labels == 1).mean() == pytest.approx(0.5)


def test_pixels_beyond_the_image_mirror_it() -> None:
    rows = np.repeat(np.arange(24, dtype=np.uint8)[:, None], 90, axis=1)
    sample = Sample("rows", rows, np.ones((24, 90), np.int32))
    for seed in range(8):
        image, labels, _ = train_crop(
            sample, np.random.default_rng(seed), replace(PLAIN, turn=False)
        )
        known = np.flatnonzero(labels[:, 0] > 0)
        assert np.array_equal(known, np.arange(known[0], known[0] + 24))
        mirrored = np.pad(rows, ((known[0], 40 - known[0]), (0, 0)), mode="reflect")
        assert np.abs(image[:, :, 0] - mirrored[:, :64]).max() < 1e-4


@given(seed=st.integers(0, 2**32), height=st.integers(1, 90), width=st.integers(1, 90))
@settings(max_examples=25, deadline=None)
def test_a_warped_crop_of_any_image_has_the_labels_of_the_image(
    seed: int, height: int, width: int
) -> None:
    sample = Sample("full", np.zeros((height, width), np.uint8), np.ones((height, width), np.int32))
    _, labels, _ = train_crop(sample, np.random.default_rng(seed), WARPED)
    assert set(np.unique(labels)) <= {IGNORE, 1}


def test_an_untouched_crop_has_the_values_of_the_image() -> None:
    image = np.random.default_rng(1).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    same = vary_intensity(image, np.random.default_rng(0), 0.0)
    assert np.abs(same - image).max() < 1e-4


def test_the_same_seed_gives_the_same_crop() -> None:
    config = AugmentConfig(crop=64, warp=1, intensity=1)
    sample = checkered(90, 120)
    first = train_crop(sample, np.random.default_rng(8), config)
    again = train_crop(sample, np.random.default_rng(8), config)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3)])
def test_intensities_vary_within_the_range_of_bytes(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, shape).astype(np.uint8)
    varied = vary_intensity(image, rng, 1.0)
    assert varied.shape == shape
    assert varied.min() >= 0
    assert varied.max() <= 255
    assert not np.allclose(varied, image)


def test_a_flat_image_can_be_varied() -> None:
    flat = np.full((8, 8), 7, np.uint8)
    assert np.isfinite(vary_intensity(flat, np.random.default_rng(0), 1.0)).all()


UPRIGHT = AugmentConfig(
    crop=40, crop_width=72, turn=False, intensity=0, warp=0, elastic_px=0, scale=1.3
)


@pytest.mark.parametrize("warp", [0.0, 1.0])
def test_a_frame_that_is_not_turned_keeps_up_up(warp: float) -> None:
    rows = np.repeat(np.arange(60, dtype=np.uint8)[:, None], 90, axis=1)
    sample = Sample("rows", rows, np.ones((60, 90), np.int32))
    config = replace(UPRIGHT, warp=warp)
    image, labels, _ = train_crop(sample, np.random.default_rng(2), config)
    assert image.shape == (40, 72, 3)
    assert labels.shape == (40, 72)
    down = np.diff(image[:, :, 0], axis=0)[labels[1:] > 0]
    assert (down >= 0).all()
    assert down.mean() > 0.5


def test_a_whole_frame_comes_as_it_is_or_mirrored() -> None:
    sample = checkered(40, 72)
    seen = [train_crop(sample, np.random.default_rng(i), UPRIGHT)[0][:, :, 0] for i in range(8)]
    same = [np.array_equal(image, sample.image) for image in seen]
    mirrored = [np.array_equal(image[:, ::-1], sample.image) for image in seen]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    assert any(same)
    assert any(mirrored)


def test_a_turned_crop_must_be_square() -> None:
    with pytest.raises(ValidationError, match="must be square"):
        AugmentConfig(crop=64, crop_width=96)


def test_classes_follow_their_instances() -> None:
    labels = np.zeros((64, 64), np.int32)
    labels[:20], labels[40:] = 2, 40_000
    classes = np.zeros(40_001, np.int32)
    classes[[2, 40_000]] = 3, 1
    sample = Sample("two", np.where(labels == 2, 90, 0).astype(np.uint8), labels, classes)
    image, crop, at = train_crop(sample, np.random.default_rng(4), WARPED)
    assert set(np.unique(at)) == {0, 1, 3}
    assert set(np.unique(at[crop == 1])) == {3}
    assert set(np.unique(at[crop == 2])) == {1}
    assert (at[crop <= 0] == 0).all()
    assert np.median(image[at == 3]) == 90


def test_renumbering_keeps_background_and_ignored_pixels() -> None:
    labels = np.array([[0, 40, -1], [40, 9, 0]], np.int32)
    assert consecutive(labels).tolist() == [[0, 2, -1], [2, 1, 0]]
