"""The ablation: truth put in place of one part at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from service.domain import Category, Prediction
from service.recipe import Recipe
from training.data.dataset import Sample
from training.data.synthetic import NucleiDataset
from training.scoring.ablation import ablate, around_true_centres

DATA = NucleiDataset(count=1, size=96, min_objects=6, max_objects=6, radius_px=9)
RECIPE = Recipe(
    method="discriminative",
    embedding_size=1,
    classes=(Category(1, "nucleus"),),
    size_multiple=1,
    decoder={"bandwidth": 1.5, "min_pixels": 8.0},
)


class HalfRight:
    """Vectors that separate instances, foreground that misses the lower half of the image."""

    def predict(self, image: npt.NDArray[np.uint8]) -> Prediction:
        """Give the truth, spoiled."""
        labels = DATA[0].labels
        logits = np.where(labels > 0, 9.0, -9.0).astype(np.float16)
        logits[48:] = -9
        return Prediction((4.0 * labels).astype(np.float16)[None], logits[None])


def test_the_true_foreground_mends_what_the_foreground_spoiled() -> None:
    found = {
        (foreground, grouping): score.mean_ap
        for foreground, grouping, score in ablate(HalfRight(), DATA, RECIPE)
    }
    assert found[("true", "clustering")] == found[("true", "true centres")] == 1
    assert found[("predicted", "clustering")] < 0.8
    assert found[("predicted", "true centres")] < 0.8


def test_without_true_instances_no_pixel_has_a_centre() -> None:
    empty = Sample("empty", DATA[0].image, np.zeros_like(DATA[0].labels))
    prediction = HalfRight().predict(empty.image)
    assert (prediction.foreground_logits > 0).any()
    assert not around_true_centres(prediction, RECIPE, empty).any()


def test_centres_of_vectors_that_travel_as_bytes_are_those_of_the_vectors() -> None:
    sample = DATA[0]
    prediction = HalfRight().predict(sample.image)
    slope = np.arange(96, dtype=np.float32)[:, None] / 4
    bytes_of = 128 + (prediction.embedding.astype(np.float32) - slope) / 0.25
    sent: npt.NDArray[Any] = bytes_of.astype(np.uint8)
    as_bytes = replace(RECIPE, embedding_scale=(0.25,), embedding_slope=((0.25, 0.0),))
    expected = around_true_centres(prediction, RECIPE, sample)
    assert expected.any()
    found = around_true_centres(replace(prediction, embedding=sent), as_bytes, sample)
    np.testing.assert_array_equal(found, expected)
