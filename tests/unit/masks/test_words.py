from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.masks.words import WORD, changes, ends


@given(st.integers(0, 10_000), st.integers(1, 3 * WORD), st.sampled_from([1, 2, 50]))
def test_runs_end_where_the_value_changes(seed: int, width: int, longest: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest + 1, width)
    values = np.repeat(rng.integers(-2, 3, width), lengths)[:width].astype(np.int32)
    flat = np.concatenate(([7], values, [9])).astype(np.int32)
    found = np.empty(width, np.int32)
    count = ends(flat, 1, width, found)
    assert found[:count].tolist() == [*(np.flatnonzero(np.diff(values)) + 1).tolist(), width]


@pytest.mark.parametrize("count", [0, 1, WORD - 1, WORD])
def test_a_word_has_a_bit_for_each_change(count: int) -> None:
    rng = np.random.default_rng(count)
    one, other = rng.integers(0, 2, (2, WORD + 5)).astype(np.int32)
    word = int(changes(one, 2, other, 5, count))
    assert [word >> p & 1 for p in range(WORD)] == [
        int(p < count and one[2 + p] != other[5 + p]) for p in range(WORD)
    ]
