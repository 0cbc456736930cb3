"""Any bytes, to everything that reads what strangers send: refused as documented, or taken."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.coverage_led import BEGINNINGS
from tests.fuzz.hostile import mutate
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", sorted(TARGETS))
@given(data=st.binary(max_size=400))
@settings(max_examples=300)
def test_any_bytes(name: str, data: bytes) -> None:
    TARGETS[name](data)


@pytest.mark.parametrize("name", sorted(TARGETS))
@given(seed=st.integers(0, 2**32))
@settings(max_examples=300)
def test_valid_inputs_that_were_damaged(name: str, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - repeatable
    TARGETS[name](mutate(rng, BEGINNINGS[name]()))


@given(
    size=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    counts=st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=20),
)
@settings(max_examples=1000)
def test_run_lengths_of_the_right_alphabet(size: tuple[int, int], counts: str) -> None:
    TARGETS["rle"](bytes(size) + counts.encode())


@given(
    pairs=st.dictionaries(
        st.sampled_from(
            ["min_area", "min_score", "bandwidth", "scale", "classes", "tile", "format", "keep"]
        ),
        st.one_of(st.integers().map(str), st.floats().map(str), st.text(max_size=8)),
    )
)
@settings(max_examples=500)
def test_parameters_of_the_right_names(pairs: dict[str, str]) -> None:
    query = "&".join(f"{name}={value}" for name, value in pairs.items())
    TARGETS["parameters"](query.encode("utf-8", "surrogatepass"))
