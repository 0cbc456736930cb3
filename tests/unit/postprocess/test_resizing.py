"""Instances at another size: smooth, in place, none without a pixel."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.postprocess.labelled import ExtractOptions, Labelled
from service.postprocess.resizing import at_size, options_at

Int32 = npt.NDArray[np.int32]


def labelled(labels: Int32) -> Labelled:
    count = int(labels.max(initial=0))
    return Labelled(labels, np.linspace(0.1, 0.9, count), np.arange(count, dtype=np.int64))


def blobs(height: int, width: int, count: int, seed: int) -> Int32:
    """Voronoi regions, some of them background; every label has a pixel."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    centres = rng.random((2 * count, 2)) * (height, width)
    nearest = np.hypot(*(centres[..., None, None] - (y, x)).transpose(1, 0, 2, 3)).argmin(0)
    _, labels = np.unique(np.where(nearest < count, 0, nearest), return_inverse=True)
    return labels.reshape(height, width).astype(np.int32)


def test_labels_of_the_right_size_stay_as_they_are() -> None:
    found = labelled(blobs(8, 9, 4, 0))
    assert at_size(found, (8, 9), None) is found
    assert at_size(found, (8, 9), 1) is found


def test_what_is_too_small_is_left_out_at_any_size() -> None:
    labels = np.zeros((4, 6), np.int32)
    labels[0, :2], labels[2:] = 1, 2
    for times in (1, 2):
        found = at_size(labelled(labels), (4 * times, 6 * times), 3 * times**2)
        assert found.labels.max() == 1
        assert np.count_nonzero(found.labels) == 12 * times**2


@given(
    st.tuples(st.integers(1, 24), st.integers(1, 24)),
    st.tuples(st.integers(1, 50), st.integers(1, 50)),
    st.integers(0, 1000),
)
def test_every_pixel_takes_the_label_with_most_bilinear_weight(
    seen: tuple[int, int], size: tuple[int, int], seed: int
) -> None:
    labels = blobs(*seen, 4, seed)
    found = at_size(labelled(labels), size, None)
    masks = [(labels == k).astype(np.float32) for k in range(labels.max() + 1)]
    weights = np.stack([cv2.resize(mask, size[::-1]) for mask in masks])
    kept = [0, *(1 + found.classes)]  # what vanished is in no class
    taken = np.take_along_axis(weights, np.array(kept)[found.labels][None], 0)[0]
    assert found.labels.shape == size
    assert (taken >= weights.max(0) - 1e-3).all()


@given(st.tuples(st.integers(1, 24), st.integers(1, 24)), st.integers(1, 4), st.integers(0, 1000))
def test_labels_enlarged_and_reduced_again_are_what_they_were(
    size: tuple[int, int], times: int, seed: int
) -> None:
    found = labelled(blobs(*size, 5, seed))
    enlarged = at_size(found, (2 * times * size[0], 2 * times * size[1]), None)
    centres = enlarged.labels[times :: 2 * times, times :: 2 * times]
    np.testing.assert_array_equal(centres, found.labels)


@given(
    st.tuples(st.integers(1, 24), st.integers(1, 24)),
    st.tuples(st.integers(1, 50), st.integers(1, 50)),
    st.integers(0, 1000),
)
def test_no_object_is_shifted(seen: tuple[int, int], size: tuple[int, int], seed: int) -> None:
    mask = np.minimum(blobs(*seen, 4, seed), 1)
    found = at_size(labelled(mask), size, None).labels
    turned = at_size(labelled(mask[::-1, ::-1].copy()), size, None).labels[::-1, ::-1]
    np.testing.assert_array_equal(found, turned)


def test_a_disc_stays_round() -> None:
    y, x = np.mgrid[:20, :20]
    disc = labelled((np.hypot(y - 9.5, x - 9.5) < 7).astype(np.int32))
    y, x = np.mgrid[:160, :160]
    drawn = np.hypot(y - 79.5, x - 79.5) < 56
    found = at_size(disc, (160, 160), None).labels > 0
    stairs = disc.labels.repeat(8, 0).repeat(8, 1) > 0
    assert (found ^ drawn).sum() < (stairs ^ drawn).sum()


def test_what_is_left_of_no_pixel_is_gone_and_numbers_close_up() -> None:
    labels = np.zeros((12, 12), np.int32)
    labels[0, 0], labels[6:, :6], labels[6:, 6:] = 1, 2, 3
    found = at_size(labelled(labels), (4, 4), None)
    assert set(np.unique(found.labels)) == {0, 1, 2}
    assert found.classes.tolist() == [1, 2]
    assert found.scores.tolist() == pytest.approx([0.5, 0.9])


def test_the_smallest_area_is_in_pixels_of_the_image() -> None:
    labels = np.zeros((10, 10), np.int32)
    labels[:2, :2], labels[5:8, 5:8] = 1, 2
    found = at_size(labelled(labels), (40, 40), 100)
    assert found.classes.tolist() == [1]
    assert np.count_nonzero(found.labels == 1) >= 100


@pytest.mark.parametrize(
    ("asked", "seen", "expected"),
    [(None, (5, 5), None), (100, (20, 20), 100), (100, (5, 5), 6), (3, (5, 5), 0)],
)
def test_options_are_told_in_pixels_that_the_network_sees(
    asked: int | None, seen: tuple[int, int], expected: int | None
) -> None:
    options = options_at(ExtractOptions(min_area=asked, bandwidth=2.0), (20, 20), seen)
    assert options == ExtractOptions(min_area=expected, bandwidth=2.0)
