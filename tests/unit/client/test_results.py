"""What an answer is drawn from, without a server."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from discern.results import Found, Instance
from discern.rle import draw_labels
from service.masks.rle import encode_labels

LABELS = np.kron(np.arange(1, 65, dtype=np.int32).reshape(8, 8), np.ones((99, 101), np.int32))
LABELS[::7] = 0


def _found() -> Found:
    height, width = LABELS.shape
    instances = tuple(
        Instance(
            id=label,
            category="disc",
            category_id=1,
            score=1.0,
            area=int(np.count_nonzero(np.equal(LABELS, label))),
            bbox=(0, 0, width, height),
            centroid=(0.0, 0.0),
            rle=rle,
        )
        for label, rle in enumerate(encode_labels(LABELS), 1)
    )
    return Found("r", "scenes", "1", "discriminative", height, width, instances, {}, {})


def test_labels_are_drawn_without_a_mask_for_each_instance() -> None:
    found = _found()
    tracemalloc.start()
    labels = found.labels
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(labels, LABELS)
    assert labels.flags.c_contiguous
    assert most < 3 * LABELS.nbytes  # the masks of 64 instances are 16 times the labels


def test_of_masks_that_overlap_the_later_one_is_seen() -> None:
    whole, part = {"size": [2, 2], "counts": [0, 4]}, {"size": [2, 2], "counts": [1, 2, 1]}
    assert draw_labels((2, 2), [(1, whole), (2, part)]).tolist() == [[1, 2], [2, 1]]
    assert draw_labels((2, 2), [(2, part), (1, whole)]).tolist() == [[1, 1], [1, 1]]


def test_an_image_without_objects_is_all_background() -> None:
    assert draw_labels((2, 3), []).tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("size", "counts", "said"),
    [
        ([3, 2], [0, 6], r"size \[3, 2\], its image \[2, 3\]"),
        ([2, 3], [0, 7], "add up to 7 pixels, not 2 x 3"),
        ([2, 3], [-1, 7], "negative"),
    ],
)
def test_a_mask_that_does_not_fit_its_image_is_refused(
    size: list[int], counts: list[int], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        draw_labels((2, 3), [(1, {"size": size, "counts": counts})])
