"""Clusters too close to be two instances become one, and no others."""

from __future__ import annotations

import statistics
import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.postprocess.clustering import decode_discriminative
from service.postprocess.joining import Limits, join
from service.postprocess.planes import as_planes

HALVES = np.array([[1, 1, 2, 2, 0, 3], [0, 0, 0, 0, 0, 0]], np.int32)


def centres(*columns: tuple[float, float]) -> npt.NDArray[np.float32]:
    return np.array(columns, np.float32).T.copy()


def joined(
    labels: npt.NDArray[np.int32],
    where: npt.NDArray[np.float32],
    limits: Limits,
    smallest: int = 1,
) -> npt.NDArray[np.int32]:
    """Join clusters whose pixels lie at their means."""
    counts = np.bincount(np.maximum(labels, 0).ravel(), minlength=where.shape[1] + 1)
    planes = as_planes(where[:, np.maximum(labels, 1) - 1])
    nowhere = np.full_like(where, 99.0) + np.arange(where.shape[1], dtype=np.float32) * 0.1
    names, after = join(planes, labels, counts.astype(np.int32), nowhere, limits, smallest)
    result = np.where(labels > 0, names[labels], labels)
    assert np.array_equal(after, np.bincount(np.maximum(result, 0).ravel(), minlength=after.size))
    return result


@pytest.mark.parametrize(
    ("below", "rim", "expected"),
    [
        (1.0, 0.0, [1, 1, 2, 2, 0, 3]),  # none is closer than that
        (1.1, 0.0, [1, 1, 1, 1, 0, 3]),
        (2.1, 0.0, [1, 1, 1, 1, 0, 1]),  # lying apart is no hindrance
        (0.5, 1.4, [1, 1, 2, 2, 0, 3]),  # one of the three edges around label 1 is shared
        (0.5, 1.6, [1, 1, 1, 1, 0, 3]),
        (1.1, 9.9, [1, 1, 1, 1, 0, 3]),  # label 3 shares none
    ],
)
def test_close_centres_and_a_shared_rim_make_one(
    below: float, rim: float, expected: list[int]
) -> None:
    where = centres((0, 0), (1, 0), (0, 2))
    found = joined(HALVES, where, Limits(below, rim, 0.0))
    assert found[0].tolist() == expected


@pytest.mark.parametrize(
    ("size", "smallest", "expected"),
    [
        (2.9, 1, [1, 1, 1, 1, 4, 4, 4, 4, 4]),  # the piece is a third of the middle of 1, 3, 5
        (3.1, 1, [1, 1, 1, 2, 4, 4, 4, 4, 4]),
        (4.9, 4, [1, 1, 1, 1, 4, 4, 4, 4, 4]),  # a fifth of the only one that counts
        (5.1, 4, [1, 1, 1, 2, 4, 4, 4, 4, 4]),
        (0.9, 9, [1, 1, 1, 1, 4, 4, 4, 4, 4]),  # none counts
        (1.1, 9, [1, 1, 1, 2, 4, 4, 4, 4, 4]),
    ],
)
def test_a_small_piece_may_be_farther_away(size: float, smallest: int, expected: list[int]) -> None:
    labels = np.array([[1, 1, 1, 2, 4, 4, 4, 4, 4]], np.int32)
    where = centres((0, 0), (1, 0), (20, 20), (9, 9))
    assert joined(labels, where, Limits(2.0, 0.0, size), smallest)[0].tolist() == expected


def test_a_chain_of_close_centres_is_one() -> None:
    labels = np.array([[3, 1, 2]], np.int32)
    where = centres((0, 0), (1, 0), (2, 0))
    assert joined(labels, where, Limits(1.5, 0.0, 0.0)).tolist() == [[1, 1, 1]]


def test_pixels_without_a_label_stay_as_they_are() -> None:
    labels = np.array([[-1, 0, 1, 2]], np.int32)
    assert joined(labels, centres((0, 0), (1, 0)), Limits(1.5, 0.0, 0.0)).tolist() == [
        [-1, 0, 1, 1]
    ]


def test_the_decoder_joins_before_it_drops_what_is_small() -> None:
    embedding = np.zeros((1, 8, 16), np.float32)
    embedding[:, :, 8:10] = 2.0  # 16 pixels, fewer than `min_pixels`
    embedding[:, :, 13:] = 9.0
    foreground = np.ones((8, 16), np.bool_)
    foreground[:, 10:13] = False
    apart, together = (
        decode_discriminative(
            embedding, foreground, bandwidth=1.0, min_pixels=20, join_below=below
        ).labels
        for below in (0.0, 2.5)
    )
    assert apart[0].tolist() == [1] * 8 + [0] * 5 + [2] * 3
    assert together[0].tolist() == [1] * 10 + [0] * 3 + [2] * 3


def test_very_many_close_centres_take_no_memory_for_each_pair() -> None:
    labels = np.arange(1, 10_001, dtype=np.int32).reshape(100, 100)
    where = np.random.default_rng(0).uniform(0, 1, (2, labels.size)).astype(np.float32)
    tracemalloc.start()
    try:
        found = joined(labels, where, Limits(2.0, 1.0, 0.0))
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (found == 1).all()
    assert most_bytes < 2**24  # 50 million pairs would be 400 MB and more


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 60),
    below=st.floats(0.1, 3.0),
    rim=st.sampled_from([0.0, 2.5]),
    size=st.sampled_from([0.0, 1.5]),
    smallest=st.sampled_from([1, 6]),
)
def test_it_is_what_a_look_at_all_pairs_gives(
    seed: int, count: int, below: float, rim: float, size: float, smallest: int
) -> None:
    rng = np.random.default_rng(seed)
    where = rng.uniform(0, 8, (3, count)).astype(np.float32)
    labels = rng.integers(0, count + 1, (12, 17)).astype(np.int32).repeat(2, 0).repeat(2, 1)
    limits = Limits(below, rim, size)
    result = joined(labels, where, limits, smallest)
    names = oracle(labels, where, limits, smallest)
    assert np.array_equal(result, names[labels])


def oracle(
    labels: npt.NDArray[np.int32], where: npt.NDArray[np.float32], limits: Limits, smallest: int
) -> npt.NDArray[np.int32]:
    """Look at every pair, one after the other, and rename whole groups."""
    count = where.shape[1]
    names = np.arange(count + 1, dtype=np.int32)
    edges = [(labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])]
    counts = [int((labels == label).sum()) for label in range(count + 1)]
    sizes = [pixels for pixels in counts[1:] if pixels >= smallest]
    middle = statistics.median_low(sizes) if sizes else 1
    for a in range(1, count + 1):
        for b in range(a + 1, count + 1):
            gap = where[:, a - 1] - where[:, b - 1]
            distance = np.sqrt((gap * gap).sum(dtype=np.float32))
            shared, rims = 0, {a: 0, b: 0}
            for one, other in edges:
                for label in (a, b):
                    rims[label] += int(((one == label) != (other == label)).sum())
                shared += int((((one == a) & (other == b)) | ((one == b) & (other == a))).sum())
            share = shared / max(min(rims.values()), 1)
            part = min(counts[a] / middle, counts[b] / middle, 1.0)
            near = distance < limits.below + limits.rim * share - limits.size * part
            if near and part > 0:
                names[names == max(names[a], names[b])] = min(names[a], names[b])
    return names
