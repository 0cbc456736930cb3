"""Orientation and transparency, against Pillow."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from service.imaging.upright import flatten, orient
from tests.image_files import noise


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shape", [(7, 13, 3), (1, 1, 3), (1, 9, 3), (9, 1, 3)])
def test_every_orientation_is_carried_out_as_pillow_carries_it_out(
    orientation: int, shape: tuple[int, ...]
) -> None:
    pixels = noise(*shape)
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(orient(pixels, orientation), expected)


def test_nothing_is_copied_where_nothing_turns() -> None:
    pixels = noise(7, 13, 3)
    assert orient(pixels, 1) is pixels


def test_nothing_is_copied_where_all_is_opaque() -> None:
    pixels = noise(7, 13, 3)
    assert flatten(pixels, np.full((7, 13), 255, np.uint8)) is pixels


def test_every_colour_at_every_alpha_is_rounded_exactly() -> None:
    colour, alpha = np.meshgrid(np.arange(256), np.arange(256))
    exact = (colour * alpha + 255 * (255 - alpha)) / 255
    pixels = np.repeat(colour[..., None], 3, axis=2).astype(np.uint8)
    found = flatten(pixels, alpha.astype(np.uint8))
    np.testing.assert_array_equal(found[..., 0], np.floor(exact + 0.5))


def test_a_picture_wider_than_a_block_is_laid_on_white_as_well() -> None:
    pixels = noise(2, 300_000, 3)
    assert flatten(pixels, np.zeros((2, 300_000), np.uint8)).min() == 255
