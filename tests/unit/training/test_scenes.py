"""Drawn scenes: determinism, exact masks, occlusion."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.golden import golden_scenes
from training.data.phase_contrast import draw_cells
from training.data.synthetic import (
    NucleiDataset,
    SticksDataset,
    draw_nuclei,
    draw_sticks,
)


@pytest.mark.parametrize("kind", [SticksDataset, NucleiDataset])
def test_the_same_index_gives_the_same_bytes_and_another_gives_others(
    kind: type[SticksDataset] | type[NucleiDataset],
) -> None:
    first, again, other = kind(count=9, seed=4)[3], kind(count=9, seed=4)[3], kind(count=9)[3]
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.image, other.image)


@given(seed=st.integers(0, 2**32), size=st.integers(48, 160), sticks=st.integers(0, 14))
@settings(max_examples=15, deadline=None)
def test_any_number_of_sticks_on_any_sheet_gives_consecutive_ids(
    seed: int, size: int, sticks: int
) -> None:
    image, labels = draw_sticks(np.random.default_rng(seed), size=size, sticks=sticks)
    ids = np.unique(labels)
    assert image.shape == labels.shape == (size, size)
    assert ids.max() <= sticks
    assert np.array_equal(ids[ids > 0], np.arange(1, ids.max() + 1))
    assert np.all(image[labels == 0] == 255)


def parts_of_sticks(seed: int) -> int:
    labels = SticksDataset(count=1, seed=seed, min_objects=10, max_objects=10)[0].labels
    return max(
        int(cv2.connectedComponents((labels == i).astype(np.uint8))[0]) - 1
        for i in range(1, labels.max() + 1)
    )


def test_crossing_sticks_cut_others_into_parts_that_keep_one_id() -> None:
    assert max(parts_of_sticks(seed) for seed in range(5)) >= 2


@given(seed=st.integers(0, 2**32), height=st.integers(40, 90), width=st.integers(40, 90))
@settings(max_examples=10, deadline=None)
def test_nuclei_are_brighter_than_what_lies_between_them(
    seed: int, height: int, width: int
) -> None:
    rng = np.random.default_rng(seed)
    image, labels = draw_nuclei(rng, height=height, width=width, nuclei=5, radius_px=8)
    assert image.shape == labels.shape == (height, width)
    assert labels.max() >= 1
    assert image[labels > 0].mean() > image[labels == 0].mean()


def test_nuclei_lie_in_one_piece_each_and_some_of_them_touch() -> None:
    labels = NucleiDataset(count=1, seed=2, min_objects=40, max_objects=40)[0].labels
    masks = [(labels == i).astype(np.uint8) for i in range(1, labels.max() + 1)]
    assert all(cv2.connectedComponents(mask, connectivity=4)[0] == 2 for mask in masks)
    assert cv2.connectedComponents((labels > 0).astype(np.uint8))[0] - 1 < len(masks)


@pytest.mark.parametrize(("height", "width"), [(140, 148), (300, 90)])
def test_cells_are_dark_lie_apart_and_have_a_bright_rim(height: int, width: int) -> None:
    image, labels = draw_cells(np.random.default_rng(1), height=height, width=width, cells=5)
    assert image.shape == labels.shape == (height, width)
    cells = (labels > 0).astype(np.uint8)
    assert labels.max() >= 2
    assert cv2.connectedComponents(cells)[0] - 1 == labels.max()
    rim = (cv2.dilate(cells, np.ones((5, 5), np.uint8)) > 0) & (labels == 0)
    ground = cv2.dilate(cells, np.ones((25, 25), np.uint8)) == 0
    assert image[labels > 0].mean() < image[ground].mean() < image[rim].mean()


@pytest.mark.parametrize("kind", ["sticks", "folder"])
def test_the_golden_pictures_never_change_and_begin_with_the_likeliest(kind: str) -> None:
    first, again = list(golden_scenes(kind)), list(golden_scenes(kind))
    assert len(first) == 3
    assert (first[0].image.shape == (128, 128)) == (kind == "sticks")
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one.image, other.image)
        assert max(one.image.shape) <= 148
        assert one.labels.max() >= 3
