"""An image at another scale: its size, its values, its bounds."""

from __future__ import annotations

import numpy as np
import pytest

from service.domain import ImageLimits
from service.errors import BadParameter
from service.imaging.scaling import rescale
from tests.image_files import noise

LIMITS = ImageLimits(max_pixels=10_000, max_side_px=400)


def test_a_scale_of_one_hands_the_image_back_itself() -> None:
    pixels = noise(7, 9, 3)
    assert rescale(pixels, 1.0, LIMITS) is pixels


@pytest.mark.parametrize(
    ("scale", "expected"), [(0.5, (10, 15)), (2, (40, 60)), (1.26, (25, 38)), (0.05, (1, 2))]
)
def test_sides_are_scaled_and_rounded(scale: float, expected: tuple[int, int]) -> None:
    assert rescale(noise(20, 30, 3), scale, LIMITS).shape == (*expected, 3)


def test_no_side_vanishes() -> None:
    assert rescale(noise(1, 30, 3), 0.05, LIMITS).shape == (1, 2, 3)


def test_a_reduced_image_holds_means() -> None:
    pixels = noise(8, 12, 3)
    means = pixels.reshape(4, 2, 6, 2, 3).mean((1, 3))
    assert np.abs(rescale(pixels, 0.5, LIMITS) - means).max() <= 0.5


def test_an_enlarged_image_has_its_content_where_it_was() -> None:
    pixels = np.zeros((9, 9, 3), np.uint8)
    pixels[4, 6] = 255
    larger = rescale(pixels, 3, LIMITS)[..., 0]
    assert divmod(int(larger.argmax()), larger.shape[1]) == (13, 19)


@pytest.mark.parametrize("scale", [0.049, 20.1, 0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_out_of_bounds_is_refused(scale: float) -> None:
    with pytest.raises(BadParameter, match=r"must lie from 0\.05 to 20") as refusal:
        rescale(noise(4, 4, 3), scale, LIMITS)
    assert refusal.value.parameter == "scale"


@pytest.mark.parametrize("size", [(101, 100), (10, 401)])
def test_an_image_is_not_enlarged_beyond_the_limits(size: tuple[int, int]) -> None:
    small = noise(size[0] // 2 + 1, size[1] // 2 + 1, 3)
    with pytest.raises(BadParameter, match="more than the 10000 pixels and the sides of 400"):
        rescale(small, 2, LIMITS)
