"""Whatever the size: padding mirrors, and a crop undoes it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from service.imaging.geometry import fit
from tests.image_files import noise

SIDES = st.integers(1, 70)


@settings(deadline=None)
@given(height=SIDES, width=SIDES, multiple=st.sampled_from([1, 2, 8, 16, 32]))
def test_padding_is_numpys_reflection_and_a_crop_is_its_inverse(
    height: int, width: int, multiple: int
) -> None:
    pixels = noise(height, width, 3)
    fitted = fit(pixels, multiple=multiple)
    below, right = -height % multiple, -width % multiple
    expected = np.pad(pixels, ((0, below), (0, right), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(fitted, expected)
    np.testing.assert_array_equal(fitted[:height, :width], pixels)
    assert fitted.flags.c_contiguous
