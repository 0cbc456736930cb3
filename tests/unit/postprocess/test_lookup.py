from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.postprocess.leaders import _with_room
from service.postprocess.lookup import build, nearest


@given(
    st.integers(0, 10_000),
    st.sampled_from([1, 2, 5, 8]),
    st.sampled_from([1, 3, 64, 65, 700, 1500]),
    st.floats(0.1, 5.0),
)
def test_the_grid_finds_what_a_full_search_finds(
    seed: int, size: int, count: int, radius: float
) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.normal(scale=4.0, size=(size, count)).astype(np.float32)
    vector = rng.normal(scale=4.0, size=size).astype(np.float32)
    lookup = build(centres, np.float32(radius))
    runs = np.empty((int(lookup.shape[0]), 2), np.int64)
    work = np.empty(count, np.float32)
    found, _ = nearest(lookup, vector, np.float32(radius), -1, work, runs)
    gaps = np.linalg.norm(centres - vector[:, None], axis=0)
    expected = int(gaps.argmin()) if gaps.min() <= radius else -1
    assert found == expected


def test_the_first_of_equals_is_found() -> None:
    centres = np.zeros((2, 100), np.float32)
    lookup = build(centres, np.float32(1.0))
    runs = np.empty((int(lookup.shape[0]), 2), np.int64)
    work = np.empty(100, np.float32)
    vector = np.zeros(2, np.float32)
    assert nearest(lookup, vector, np.float32(1.0), -1, work, runs)[0] == 0
    assert nearest(lookup, vector, np.float32(1.0), 0, work, runs)[0] == 1


@pytest.mark.parametrize("count", [500, 3000])
@pytest.mark.parametrize("spread", [1e-3, 1e6])
def test_a_grid_is_never_larger_than_its_centres_ask_for(spread: float, count: int) -> None:
    centres = np.random.default_rng(0).normal(scale=spread, size=(3, count)).astype(np.float32)
    assert build(centres, np.float32(0.5)).starts.size <= 4 * count + 1


@pytest.mark.parametrize("count", [0, 10_000, 250_000])
def test_few_of_many_leaders_are_unsorted(count: int) -> None:
    means = np.arange(count, dtype=np.float32)[:, None]
    leaders = _with_room(means, np.ones(count, np.int32), np.float32(1.0))
    assert leaders.lookup.names.size == count
    assert 256 <= leaders.recent.shape[1] <= 256 + 8 * count**0.5
