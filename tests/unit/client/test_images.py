"""The small PNG writer, read back by Pillow."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from discern.images import png_of

SIDES = st.integers(1, 9)
GREY = st.tuples(SIDES, SIDES)
RGB = st.tuples(SIDES, SIDES, st.just(3))


@given(
    arrays.arrays(np.uint8, GREY) | arrays.arrays(np.uint16, GREY) | arrays.arrays(np.uint8, RGB)
)
def test_pixels_survive(pixels: npt.NDArray[np.uint8]) -> None:
    with Image.open(io.BytesIO(png_of(pixels))) as picture:
        assert np.array_equal(np.array(picture), pixels)


def test_a_view_that_is_not_contiguous_survives() -> None:
    pixels = np.arange(60, dtype=np.uint8).reshape(6, 10)[::2, ::-1]
    with Image.open(io.BytesIO(png_of(pixels))) as picture:
        assert np.array_equal(np.array(picture), pixels)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((2, 2)),
        np.zeros((2, 2, 4), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 3), np.uint8),
    ],
    ids=["float", "four channels", "one axis", "empty"],
)
def test_other_arrays_are_refused(pixels: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="pixels are"):
        png_of(pixels)
