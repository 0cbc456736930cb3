"""Clusters too close to be two instances become one, and no others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.postprocess.clustering import decode_discriminative
from service.postprocess.joining import join

HALVES = np.array([[1, 1, 2, 2, 0, 3], [0, 0, 0, 0, 0, 0]], np.int32)


def centres(*columns: tuple[float, float]) -> npt.NDArray[np.float32]:
    return np.array(columns, np.float32).T.copy()


def joined(
    labels: npt.NDArray[np.int32], where: npt.NDArray[np.float32], below: float, border: float
) -> npt.NDArray[np.int32]:
    before = np.bincount(np.maximum(labels, 0).ravel(), minlength=where.shape[1] + 1)
    names, after = join(labels, before.astype(np.int32), where, below=below, border=border)
    result = np.where(labels > 0, names[labels], labels)
    assert np.array_equal(after, np.bincount(np.maximum(result, 0).ravel(), minlength=after.size))
    return result


@pytest.mark.parametrize(
    ("below", "border", "expected"),
    [
        (1.0, 0.0, [1, 1, 2, 2, 0, 3]),  # none is closer than that
        (1.1, 0.0, [1, 1, 1, 1, 0, 3]),
        (1.1, 0.3, [1, 1, 1, 1, 0, 3]),  # one of the three edges around label 1 is shared
        (1.1, 0.4, [1, 1, 2, 2, 0, 3]),
        (2.1, 0.0, [1, 1, 1, 1, 0, 1]),  # lying apart is no hindrance
        (2.1, 0.1, [1, 1, 1, 1, 0, 3]),  # but where a border is asked for, it is
    ],
)
def test_close_centres_and_a_shared_border_make_one(
    below: float, border: float, expected: list[int]
) -> None:
    where = centres((0, 0), (1, 0), (0, 2))
    found = joined(HALVES, where, below, border)
    assert found[0].tolist() == expected


def test_a_chain_of_close_centres_is_one() -> None:
    labels = np.array([[3, 1, 2]], np.int32)
    where = centres((0, 0), (1, 0), (2, 0))
    assert joined(labels, where, 1.5, 0.0).tolist() == [[1, 1, 1]]


def test_pixels_without_a_label_stay_as_they_are() -> None:
    labels = np.array([[-1, 0, 1, 2]], np.int32)
    assert joined(labels, centres((0, 0), (1, 0)), 1.5, 0.0).tolist() == [[-1, 0, 1, 1]]


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


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 200),
    below=st.floats(0.1, 3.0),
    border=st.sampled_from([0.0, 0.2, 0.5]),
)
def test_it_is_what_a_look_at_all_pairs_gives(
    seed: int, count: int, below: float, border: float
) -> None:
    rng = np.random.default_rng(seed)
    where = rng.uniform(0, 8, (3, count)).astype(np.float32)
    labels = rng.integers(0, count + 1, (12, 17)).astype(np.int32).repeat(2, 0).repeat(2, 1)
    result = joined(labels, where, below, border)
    names = oracle(labels, where, below, border)
    assert np.array_equal(result, names[labels])


def oracle(
    labels: npt.NDArray[np.int32], where: npt.NDArray[np.float32], below: float, border: float
) -> npt.NDArray[np.int32]:
    """Look at every pair, one after the other, and rename whole groups."""
    count = where.shape[1]
    names = np.arange(count + 1, dtype=np.int32)
    edges = [(labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])]
    for a in range(1, count + 1):
        for b in range(a + 1, count + 1):
            gap = where[:, a - 1] - where[:, b - 1]
            if not (gap * gap).sum(dtype=np.float32) < np.float32(below) ** 2:
                continue
            shared, rims = 0, {a: 0, b: 0}
            for one, other in edges:
                for label in (a, b):
                    rims[label] += int(((one == label) != (other == label)).sum())
                shared += int((((one == a) & (other == b)) | ((one == b) & (other == a))).sum())
            if shared >= border * min(rims.values()):
                names[names == max(names[a], names[b])] = min(names[a], names[b])
    return names
