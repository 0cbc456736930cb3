"""Bytes and their scales are vectors again, near enough that instances are the same."""

from __future__ import annotations

import numpy as np
import pytest

from service.domain import Category, Prediction
from service.errors import ArtefactError
from service.postprocess.extract import extract
from service.postprocess.quantised import dequantise
from service.recipe import Recipe


def recipe(**wanted: object) -> Recipe:
    return Recipe(
        method="discriminative",
        embedding_size=2,
        classes=(Category(1, "blob"),),
        size_multiple=1,
        **wanted,  # type: ignore[arg-type]
    )


def test_every_byte_is_its_steps_from_128() -> None:
    everything = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    expected = (np.arange(256) - 128).reshape(1, 16, 16) * 0.25
    np.testing.assert_array_equal(dequantise(everything, [0.25]), expected.astype(np.float16))


def test_every_dimension_has_its_own_scale() -> None:
    planes = np.full((3, 2, 2), 129, np.uint8)
    np.testing.assert_array_equal(dequantise(planes, [1.0, 2.0, 0.5])[:, 0, 0], [1.0, 2.0, 0.5])


def test_every_pixel_is_moved_by_its_own_place() -> None:
    planes = np.full((2, 300, 40), 129, np.uint8)
    vectors = dequantise(planes, [1.0, 2.0], [(0.25, 0.0), (0.0, -0.5)])
    rows, columns = np.mgrid[:300, :40]
    np.testing.assert_array_equal(vectors, np.stack([1 + rows * 0.25, 2 - columns * 0.5]))


def test_without_scales_nothing_is_touched() -> None:
    embedding = np.ones((2, 3, 3), np.float16)
    assert dequantise(embedding, ()) is embedding


def test_instances_are_found_in_bytes_as_in_vectors() -> None:
    vectors = np.zeros((2, 20, 20), np.float16)
    vectors[0, :, 10:], vectors[1, 10:] = 5.0, -4.0
    logits = np.full((1, 20, 20), 9.0, np.float16)
    scale = (0.05, 0.04)
    stored = np.rint(vectors / np.array(scale)[:, None, None] + 128).astype(np.uint8)
    whole = extract(Prediction(vectors, logits), recipe(), (20, 20))
    small = extract(Prediction(stored, logits), recipe(embedding_scale=scale), (20, 20))
    np.testing.assert_array_equal(small.labels, whole.labels)
    assert len(whole.instances) == 4


def test_a_recipe_with_scales_promises_bytes_and_comes_back_from_json() -> None:
    quantised = recipe(embedding_scale=(0.5, 0.25), embedding_slope=((0.25, 0.0), (0.0, 0.25)))
    assert [spec.dtype for spec in quantised.outputs] == ["UINT8", "FP16"]
    assert Recipe.from_json(quantised.to_json()) == quantised
    assert [spec.dtype for spec in recipe().outputs] == ["FP16", "FP16"]


@pytest.mark.parametrize("scale", [(1.0,), (1.0, 0.0), (1.0, -1.0)])
def test_a_recipe_with_wrong_scales_is_refused(scale: tuple[float, ...]) -> None:
    with pytest.raises(ArtefactError, match="embedding_scale"):
        recipe(embedding_scale=scale)


@pytest.mark.parametrize(
    ("scale", "slope"),
    [((), ((1.0, 1.0),) * 2), ((1.0, 1.0), ((1.0, 1.0),)), ((1.0, 1.0), ((1.0,),) * 2)],
)
def test_a_recipe_with_wrong_slopes_is_refused(
    scale: tuple[float, ...], slope: tuple[tuple[float, ...], ...]
) -> None:
    with pytest.raises(ArtefactError, match="embedding_slope"):
        recipe(embedding_scale=scale, embedding_slope=slope)
