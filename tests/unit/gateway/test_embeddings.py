"""Kept embeddings: bounded, private to their client, gone in time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.backends.base import Model
from service.domain import Category, DecodedImage, Prediction
from service.embeddings import EmbeddingCache
from service.errors import EmbeddingNotFound
from service.recipe import Recipe
from service.request import ScaledImage

RECIPE = Recipe(
    method="discriminative", embedding_size=1, classes=(Category(1, "disc"),), size_multiple=1
)


def _seen(nbytes: int) -> ScaledImage:
    """Something that takes so many bytes, of which the picture takes three."""
    pixels = np.zeros((1, 1, 3), np.uint8)
    return ScaledImage(
        Model("m", "1", RECIPE),
        DecodedImage(pixels, "png"),
        scale=1.0,
        pixels=pixels,
        prediction=Prediction(
            np.zeros((1, 1, (nbytes - 3) // 2), np.float16), np.zeros((1, 1, 0), np.float16)
        ),
    )


def test_what_is_kept_knows_its_size() -> None:
    assert _seen(103).nbytes == 103


def test_what_is_kept_of_a_scaled_image_counts_the_image_twice() -> None:
    larger = np.zeros((2, 2, 3), np.uint8)
    assert replace(_seen(103), scale=2.0, pixels=larger).nbytes == 103 + 12


async def test_what_was_put_in_comes_out() -> None:
    cache = EmbeddingCache(max_bytes=1000, max_age_s=60)
    seen = _seen(101)
    key = cache.put("ann", seen)
    assert key is not None
    assert cache.get("ann", key) is seen
    assert cache.held_bytes == 101


async def test_another_client_finds_nothing() -> None:
    cache = EmbeddingCache(max_bytes=1000, max_age_s=60)
    key = cache.put("ann", _seen(101))
    assert key is not None
    with pytest.raises(EmbeddingNotFound):
        cache.get("bob", key)


async def test_what_is_larger_than_a_clients_share_is_not_kept() -> None:
    cache = EmbeddingCache(max_bytes=1000, max_age_s=60)
    assert cache.put("ann", _seen(501)) is None
    assert cache.held_bytes == 0


async def test_a_client_that_fills_its_share_loses_what_it_used_longest_ago() -> None:
    cache = EmbeddingCache(max_bytes=1000, max_age_s=60)
    other = cache.put("bob", _seen(401))
    first, second = cache.put("ann", _seen(201)), cache.put("ann", _seen(201))
    assert first
    assert second
    assert other
    cache.get("ann", first)
    cache.put("ann", _seen(201))
    cache.get("ann", first)
    cache.get("bob", other)
    with pytest.raises(EmbeddingNotFound):
        cache.get("ann", second)


async def test_an_embedding_that_nobody_asks_for_goes_by_itself() -> None:
    cache = EmbeddingCache(max_bytes=1000, max_age_s=0.01)
    key = cache.put("ann", _seen(101))
    assert key is not None
    await asyncio.sleep(0.02)  # timers that are due run in their order: the entry's came first
    with pytest.raises(EmbeddingNotFound):
        cache.get("ann", key)


async def test_clearing_lets_everything_go() -> None:
    cache = EmbeddingCache(max_bytes=1000, max_age_s=60)
    cache.put("ann", _seen(101))
    cache.clear()
    assert cache.held_bytes == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(3, 120)), max_size=40))
def test_the_bounds_hold_whatever_comes(puts: list[tuple[str, int]]) -> None:
    async def run() -> list[int]:
        cache = EmbeddingCache(max_bytes=200, max_age_s=60)
        held = []
        for client, nbytes in puts:
            cache.put(client, _seen(nbytes))
            held.append(cache.held_bytes)
        cache.clear()
        return [*held, cache.held_bytes]

    held = asyncio.run(run())
    assert max(held) <= 200
    assert held[-1] == 0


def test_a_copy_shares_no_memory_with_what_the_backend_holds() -> None:
    seen = _seen(103)
    copy = seen.copy()
    assert seen.prediction is not None
    assert copy.prediction is not None
    assert not np.shares_memory(copy.prediction.embedding, seen.prediction.embedding)
    assert np.array_equal(copy.prediction.embedding, seen.prediction.embedding)
