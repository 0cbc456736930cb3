"""Pictures: sizes, colours, edges."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from service.domain import Category, Prediction
from service.recipe import Recipe
from training.commands import inspect
from training.data.dataset import Sample
from training.report import pictures

LABELS = np.zeros((12, 16), np.int32)
LABELS[2:8, 2:8], LABELS[4:10, 10:15] = 1, 2
IMAGE = (40 * LABELS).astype(np.uint8)


def test_instances_have_colours_of_their_own_and_background_is_black() -> None:
    picture = pictures.colours(LABELS)
    assert picture.shape == (12, 16, 3)
    assert np.all(picture[LABELS == 0] == 0)
    assert not np.array_equal(picture[4, 4], picture[6, 12])


def test_outlines_are_drawn_on_borders_alone() -> None:
    plain, drawn = pictures.stretch(IMAGE), pictures.outlines(IMAGE, LABELS)
    changed = np.any(plain != drawn, axis=2)
    assert changed[2, 2]
    assert not changed[4, 4]
    assert not changed[0, 0]


def test_dark_images_are_shown_at_full_contrast() -> None:
    ramp = np.repeat(np.arange(20, dtype=np.uint8)[None], 50, axis=0)
    assert pictures.stretch(ramp).max() == 255


def test_instances_apart_in_the_embedding_have_different_colours() -> None:
    embedding = np.stack([LABELS == 1, LABELS == 2, 0 * LABELS]).astype(np.float16)
    picture = pictures.principal_components(embedding, LABELS > 0)
    assert np.all(picture[LABELS == 0] == 0)
    assert np.abs(picture[4, 4].astype(int) - picture[6, 12].astype(int)).max() > 100


@pytest.mark.parametrize("dimensions", [1, 2])
def test_embeddings_of_few_dimensions_and_pixels_can_be_shown(dimensions: int) -> None:
    embedding = np.ones((dimensions, 12, 16), np.float32)
    assert pictures.principal_components(embedding, LABELS > 0).shape == (12, 16, 3)
    assert pictures.principal_components(embedding, LABELS > 5).max() == 0


def test_a_sheet_has_a_cell_for_every_picture() -> None:
    pages = [pictures.colours(LABELS)] * 5
    assert pictures.sheet(pages, columns=3, side_px=64).shape == (128, 192, 3)


def test_a_projection_places_pixels_by_their_vectors_in_the_colour_of_their_instance() -> None:
    embedding = np.stack([3.0 * LABELS, 0.0 * LABELS]).astype(np.float16)
    picture = pictures.projection(embedding, LABELS, side_px=64)
    drawn = np.argwhere((picture != 255).any(axis=2))
    assert drawn.tolist() == [[32, 4], [32, 59]]
    assert np.array_equal(picture[32, 4], pictures.colours(LABELS)[4, 4])
    assert np.array_equal(picture[32, 59], pictures.colours(LABELS)[6, 12])


@pytest.mark.parametrize("dimensions", [1, 4])
def test_projections_of_any_embedding_can_be_shown(dimensions: int) -> None:
    embedding = np.repeat(LABELS[None], dimensions, axis=0).astype(np.float32)
    assert (pictures.projection(embedding, LABELS) != 255).any()
    assert (pictures.projection(embedding, 0 * LABELS) == 255).all()


def test_panels_are_of_the_image_s_size_whatever_stride_and_padding() -> None:
    logits = np.where(LABELS > 0, 5.0, -5.0).astype(np.float16)
    padded = np.pad(logits, ((0, 4), (0, 4)), constant_values=-5)[None]
    embedding = np.pad(LABELS, ((0, 4), (0, 4)))[None, ::2, ::2].astype(np.float16)
    shown = pictures.panels(IMAGE, LABELS, Prediction(embedding, padded), LABELS)
    assert {panel.shape for panel in shown} == {(12, 16, 3)}
    assert shown[3][4, 4, 0] > 250
    assert shown[3][0, 0, 0] < 5


@dataclass
class Fixed:
    """A network that says the same of every image."""

    said: Prediction

    def predict(self, image: npt.NDArray[np.uint8]) -> Prediction:
        """Say it."""
        return self.said


def test_vectors_that_travel_as_bytes_are_shown_as_the_vectors() -> None:
    logits = np.where(LABELS > 0, 5.0, -5.0).astype(np.float16)[None]
    vectors = np.stack([LABELS, LABELS * LABELS]).astype(np.float32)
    rows = np.arange(12, dtype=np.float32)[:, None] / 2
    steps = np.stack([(vectors[0] - rows) / 0.5, vectors[1] / 0.25])
    sent: npt.NDArray[Any] = (128 + steps).astype(np.uint8)
    recipe = Recipe(
        method="discriminative", embedding_size=2, classes=(Category(1, "a"),), size_multiple=1
    )
    as_bytes = replace(
        recipe, embedding_scale=(0.5, 0.25), embedding_slope=((0.5, 0.0), (0.0, 0.0))
    )
    sample = Sample("a", IMAGE, LABELS)
    shown = inspect.panels(Fixed(Prediction(sent, logits)), as_bytes, sample)
    expected = inspect.panels(Fixed(Prediction(vectors, logits)), recipe, sample)
    for panel, wanted in zip(shown, expected, strict=True):
        np.testing.assert_array_equal(panel, wanted)
