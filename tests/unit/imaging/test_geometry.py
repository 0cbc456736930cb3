"""Fitting to the network's grid, and back."""

from __future__ import annotations

import numpy as np
import pytest

from service.imaging.geometry import fit, fit_batch, fitted_side
from tests.image_files import noise


@pytest.mark.parametrize(
    ("side", "buckets", "expected"),
    [
        (1, (), 32),
        (32, (), 32),
        (33, (), 64),
        (33, (256, 128), 128),
        (128, (256, 128), 128),
        (129, (256, 128), 256),
        (257, (256, 128), 288),
    ],
)
def test_a_side_goes_to_the_smallest_bucket_or_the_next_multiple(
    side: int, buckets: tuple[int, ...], expected: int
) -> None:
    assert fitted_side(side, multiple=32, buckets=buckets) == expected


@pytest.mark.parametrize(("side", "multiple"), [(0, 32), (-1, 32), (5, 0)])
def test_a_side_of_nothing_is_an_error(side: int, multiple: int) -> None:
    with pytest.raises(ValueError, match="must be 1 or more"):
        fitted_side(side, multiple=multiple)


def test_an_image_that_fits_is_handed_back_itself() -> None:
    pixels = noise(64, 32, 3)
    assert fit(pixels, multiple=32) is pixels


def test_an_image_that_fits_but_is_not_contiguous_becomes_so() -> None:
    pixels = noise(32, 64, 3).transpose(1, 0, 2)
    fitted = fit(pixels, multiple=32)
    assert fitted.flags.c_contiguous
    np.testing.assert_array_equal(fitted, pixels)


def test_a_batch_of_one_is_a_view() -> None:
    fitted = fit(noise(5, 7, 3), multiple=32)
    assert fitted[None].base is fitted


def test_a_batch_holds_each_image_as_it_would_stand_alone() -> None:
    images = [noise(40, 50, 3), noise(64, 33, 3, seed=1), noise(64, 64, 3, seed=2)]
    batch = fit_batch(images, multiple=32)
    assert batch.shape == (3, 64, 64, 3)
    assert batch.flags.c_contiguous
    for place, pixels in zip(batch, images, strict=True):
        np.testing.assert_array_equal(place, fit(pixels, multiple=64))


def test_a_batch_of_small_images_shares_a_bucket() -> None:
    batch = fit_batch([noise(1, 1, 3), noise(9, 2, 3)], multiple=32, buckets=(256,))
    assert batch.shape == (2, 256, 256, 3)
