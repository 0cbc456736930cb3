"""Each pixel gets the centre that a look at all of them gives, and so does what is settled."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.postprocess.assign import STRAY, assign, settle
from service.postprocess.planes import as_planes
from tests.strategies import discs

RADIUS = 1.5


def drawn(
    seed: int, size: int, count: int, dtype: type[np.floating[Any]]
) -> tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
    """Return an embedding whose rows share centres in runs, its foreground, and the centres."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-3.0, 3.0, (size, count)).astype(np.float32)
    owners = discs(37, 150, 20, rng) % count
    embedding = centres[:, owners] + rng.normal(0.0, 0.4, (size, *owners.shape))
    embedding[:, 5, 3:9] = np.nan
    embedding[0, 8, 70] = np.inf
    return embedding.astype(dtype), rng.uniform(size=owners.shape) < 0.9, centres


def squared(
    embedding: npt.NDArray[np.floating[Any]], centres: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    gaps = embedding.astype(np.float64)[:, None] - centres[:, :, None, None]
    return np.asarray(np.nan_to_num((gaps**2).sum(axis=0), nan=np.inf), np.float64)


@given(
    st.integers(0, 10_000),
    st.sampled_from([1, 4, 7]),
    st.sampled_from([1, 5, 90]),
    st.sampled_from([np.float16, np.float32]),
)
def test_the_nearest_of_all_centres_is_found(
    seed: int, size: int, count: int, dtype: type[np.floating[Any]]
) -> None:
    embedding, foreground, centres = drawn(seed, size, count, dtype)
    labels = np.empty(foreground.shape, np.int32)
    distances2 = np.zeros(foreground.shape, np.float32)
    counts = assign(
        as_planes(embedding), foreground, centres, np.float32(RADIUS**2), labels, distances2
    )
    gaps2 = squared(embedding, centres)
    nearest2 = gaps2.min(axis=0)
    placed = foreground & np.isfinite(embedding).all(axis=0)
    found = labels > 0
    assert (labels[~placed] == 0).all()
    assert (labels[placed & (nearest2 > 1.0001 * RADIUS**2)] == STRAY).all()
    assert found[placed & (nearest2 < 0.9999 * RADIUS**2)].all()
    chosen = np.take_along_axis(gaps2, np.maximum(labels - 1, 0)[None], axis=0)[0]
    np.testing.assert_allclose(chosen[found], nearest2[found], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(distances2[found], nearest2[found], rtol=1e-4, atol=1e-5)
    assert counts.tolist() == [(labels == (k or STRAY)).sum() for k in range(centres.shape[1] + 1)]


@given(st.integers(0, 10_000), st.sampled_from([5, 90]), st.sampled_from([4, 2]))
def test_what_is_dropped_goes_to_the_nearest_of_the_kept(seed: int, count: int, into: int) -> None:
    embedding, foreground, centres = drawn(seed, 4, count, np.float32)
    planes, reach2 = as_planes(embedding), np.float32(RADIUS**2)
    labels = np.empty(foreground.shape, np.int32)
    assign(planes, foreground, centres, np.float32(1.0), labels, np.empty((0, 0), np.float32))
    before = labels.copy()
    names = np.arange(count + 1, dtype=np.int32)
    names[4] = into
    keep = np.random.default_rng(seed).uniform(size=count + 1) < 0.6
    keep[0] = False
    keep[4] &= into == 4
    top = settle(planes, labels, np.empty((0, 0), np.float32), centres, names, keep, reach2)

    merged = np.where(before > 0, names[before], before)
    gaps2 = squared(embedding, centres)
    gaps2[~keep[names[1:]]] = np.inf
    settled = np.where(gaps2.min(axis=0) <= reach2, names[gaps2.argmin(axis=0) + 1], 0)
    stays = (merged == 0) | ((merged > 0) & keep[merged])
    expected = np.where(stays, merged, settled)
    least2, next2 = np.partition(gaps2, 1, axis=0)[:2]
    clear = (np.abs(least2 - reach2) > 1e-3) & ~(next2 < least2 + 1e-4)  # rounding decides nothing
    assert ((labels > 0) == (expected > 0))[clear | stays].all()
    pairs = np.unique(np.stack((labels, expected))[:, clear | stays], axis=1)
    assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]
    assert np.array_equal(labels, consecutive_by_first_pixel(labels))
    assert labels.max() == top


def consecutive_by_first_pixel(labels: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    found, first = np.unique(labels[labels > 0], return_index=True)
    names = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
    names[found[np.argsort(first)]] = np.arange(1, found.size + 1)
    return names[labels]


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_an_image_without_pixels_is_settled(shape: tuple[int, int]) -> None:
    planes = as_planes(np.zeros((2, *shape), np.float32))
    labels = np.zeros(shape, np.int32)
    names, keep = np.zeros(1, np.int32), np.zeros(1, np.bool_)
    centres, none = np.empty((2, 0), np.float32), np.empty((0, 0), np.float32)
    assert settle(planes, labels, none, centres, names, keep, np.float32(1.0)) == 0
