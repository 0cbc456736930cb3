"""Scaling to 8 bits where the numbers are awkward."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from service.imaging.depth import BLOCK, scale_to_8_bits

INTEGERS = ["uint16", "int16", "uint32", "int32", "uint64", "int64"]
TYPES = [*INTEGERS, "float32", "float64"]


@pytest.mark.parametrize("dtype", TYPES)
def test_percentiles_decide_so_that_a_hot_pixel_does_not(dtype: str) -> None:
    values = np.arange(10_000).astype(dtype)
    values[-1] = 30_000
    scaled, (low, high) = scale_to_8_bits(values)
    assert (low, high) == (99, 9_979)
    assert (scaled[99], scaled[5_039], scaled[9_979], scaled[-1]) == (0, 128, 255, 255)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("value", [0, 1, 1000])
def test_a_constant_image_is_black_and_its_range_is_its_value(dtype: str, value: int) -> None:
    scaled, scaled_range = scale_to_8_bits(np.full((3, 5), value, dtype))
    assert not scaled.any()
    assert scaled_range == (value, value)


@pytest.mark.parametrize("dtype", TYPES)
def test_one_bright_pixel_on_an_even_ground_is_kept(dtype: str) -> None:
    values = np.zeros((100, 100), dtype)
    values[50, 50] = 7
    scaled, scaled_range = scale_to_8_bits(values)
    assert scaled[50, 50] == 255
    assert scaled.sum(dtype=int) == 255
    assert scaled_range == (0, 7)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_the_ends_of_the_type_do_not_overflow(dtype: str) -> None:
    info = np.iinfo(dtype)
    span = int(info.max) - int(info.min)
    values = np.array([int(info.min) + span * step // 1000 for step in range(1001)], dtype)
    scaled, (low, high) = scale_to_8_bits(values)
    assert (scaled[0], scaled[-1]) == (0, 255)
    assert np.all(np.diff(scaled.astype(int)) >= 0)
    assert low < high


def test_the_ends_of_float64_do_not_overflow() -> None:
    largest = np.finfo(np.float64).max
    scaled, _ = scale_to_8_bits(np.array([-largest, 0.0, largest]))
    np.testing.assert_array_equal(scaled, [0, 128, 255])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_is_black_and_infinities_are_the_ends(dtype: str) -> None:
    values = np.array([np.nan, -np.inf, 0, 1, 2, 3, 4, np.inf], dtype)
    scaled, scaled_range = scale_to_8_bits(values)
    np.testing.assert_array_equal(scaled, [0, 0, 0, 64, 128, 191, 255, 255])
    assert scaled_range == (0, 4)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_an_image_without_a_finite_value_is_black_and_has_no_range(value: float) -> None:
    scaled, scaled_range = scale_to_8_bits(np.full((2, 2), value, np.float32))
    assert not scaled.any()
    assert scaled_range == (0, 0)


def test_a_constant_with_infinities_keeps_them_apart() -> None:
    scaled, scaled_range = scale_to_8_bits(np.array([5, 5, np.inf, -np.inf, np.nan]))
    np.testing.assert_array_equal(scaled, [0, 0, 255, 0, 0])
    assert scaled_range == (5, 5)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "float32"])
def test_images_of_several_blocks_are_scaled_as_one(dtype: str) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 30_000, 2 * BLOCK + 17).astype(dtype)
    scaled, (low, high) = scale_to_8_bits(values)
    expected = np.rint(np.clip((values.astype(float) - low) / (high - low), 0, 1) * 255)
    assert np.abs(scaled - expected).max() <= 1
    assert (low, high) == (300, 29_940) or np.allclose((low, high), (300, 29_940), atol=30)


@pytest.mark.parametrize(
    "values",
    [
        np.arange(24, dtype=np.uint16).reshape(4, 6)[:, ::2],
        np.arange(24, dtype=np.uint16).reshape(2, 4, 3)[..., ::-1],
        np.arange(6, dtype=np.float32).reshape(3, 2).T,
    ],
    ids=["strided", "reversed", "transposed"],
)
def test_the_layout_in_memory_does_not_matter(values: npt.NDArray[Any]) -> None:
    np.testing.assert_array_equal(
        scale_to_8_bits(values)[0], scale_to_8_bits(np.ascontiguousarray(values))[0]
    )
