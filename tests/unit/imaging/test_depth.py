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
    order = np.random.default_rng(0).permutation(10_000)
    values = np.where(order == 9_999, 30_000, order).reshape(100, 100).astype(dtype)
    scaled, (low, high) = scale_to_8_bits(values)
    assert (low, high) == (99, 9_979)
    assert [scaled[values == v].item() for v in (99, 5_039, 9_979, 30_000)] == [0, 128, 255, 255]


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
    scaled, (low, high) = scale_to_8_bits(values.reshape(77, 13))
    assert (scaled[0, 0], scaled[-1, -1]) == (0, 255)
    assert np.all(np.diff(scaled.ravel().astype(int)) >= 0)
    assert low < high


def test_the_ends_of_float64_do_not_overflow() -> None:
    largest = np.finfo(np.float64).max
    scaled, _ = scale_to_8_bits(np.array([[-largest, 0.0, largest]]))
    np.testing.assert_array_equal(scaled, [[0, 128, 255]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_is_black_and_infinities_are_the_ends(dtype: str) -> None:
    values = np.array([[np.nan, -np.inf, 0, 1, 2, 3, 4, np.inf]], dtype)
    scaled, scaled_range = scale_to_8_bits(values)
    np.testing.assert_array_equal(scaled, [[0, 0, 0, 64, 128, 191, 255, 255]])
    assert scaled_range == (0, 4)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_an_image_without_a_finite_value_is_black_and_has_no_range(value: float) -> None:
    scaled, scaled_range = scale_to_8_bits(np.full((2, 2), value, np.float32))
    assert not scaled.any()
    assert scaled_range == (0, 0)


def test_a_constant_with_infinities_keeps_them_apart() -> None:
    scaled, scaled_range = scale_to_8_bits(np.array([[5, 5, np.inf, -np.inf, np.nan]]))
    np.testing.assert_array_equal(scaled, [[0, 0, 255, 0, 0]])
    assert scaled_range == (5, 5)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "float32"])
def test_images_of_several_blocks_are_scaled_as_one(dtype: str) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 30_000, (1025, 2 * BLOCK // 1024 + 3)).astype(dtype)
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


def field(*objects: tuple[slice, slice, int], dtype: str = "uint16") -> npt.NDArray[Any]:
    """Draw a field of 400 px of Gaussian noise, 1000 give or take 10, with rectangles in it."""
    values = np.random.default_rng(0).normal(1000, 10, (400, 400))
    for rows, columns, value in objects:
        values[rows, columns] = value
    return values.astype(dtype)


SPOT = slice(40, 56), slice(60, 76)
"""0.16 % of the field: less than the percentiles leave out."""


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("value", [0, 5000])
def test_an_object_alone_on_a_noisy_field_is_not_cut_off(dtype: str, value: int) -> None:
    scaled, (low, high) = scale_to_8_bits(field((*SPOT, value), dtype=dtype))
    assert abs(int(scaled[48, 68]) - int(np.median(scaled))) > 200
    assert low - 1 < min(value, 1000)
    assert max(value, 1000) < high + 1


def test_a_range_that_holds_objects_widens_by_itself_at_most() -> None:
    many = [
        (slice(y, y + 16), slice(x, x + 16), 2000) for y in range(9, 380, 40) for x in (50, 200)
    ]
    _, (low, high) = scale_to_8_bits(field(*many))
    _, beside = scale_to_8_bits(field(*many, (slice(300, 316), slice(300, 316), 60_000)))
    assert high == pytest.approx(2000, abs=2)
    assert beside[0] == low
    assert beside[1] == pytest.approx(high + (high - low), rel=0.01)


def test_a_glaring_speck_does_not_dim_the_few_objects_of_a_field() -> None:
    speck = slice(300, 308), slice(300, 308), 60_000
    scaled, _ = scale_to_8_bits(field((*SPOT, 2000), speck))
    assert int(scaled[48, 68]) - int(np.median(scaled)) > 20


def test_a_hot_pixel_does_not_widen_the_range_of_noise() -> None:
    hot = slice(101, 102), slice(101, 102), 1200
    assert scale_to_8_bits(field(hot))[1] == scale_to_8_bits(field())[1]


def test_what_is_beyond_all_measure_widens_nothing() -> None:
    values = field(dtype="float64")
    values[40:56, 60:76] = 1e300
    scaled, (low, high) = scale_to_8_bits(values)
    assert 970 < low < high < 1040  # of the noise
    assert (scaled[40:56, 60:76] == 255).all()
