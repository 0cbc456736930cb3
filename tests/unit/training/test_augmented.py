"""Test-time augmentation: views come back to their place, and join without being aligned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from service.domain import Category, Method, Prediction
from service.recipe import Recipe
from training.config.checks import ConfigError
from training.data.synthetic import NucleiDataset
from training.metrics.score import score_labels
from training.scoring.augmented import VIEWS, AugmentedNetwork
from training.scoring.decoding import read

SCENE = NucleiDataset(count=1, size=96, min_objects=9, max_objects=9, radius_px=10)[0]
RECIPE = Recipe(
    method="discriminative",
    embedding_size=2,
    classes=(Category(1, "nucleus"),),
    size_multiple=1,
    decoder={"bandwidth": 1.5, "min_pixels": 8.0},
)
Labels = npt.NDArray[np.int32]


class Moody:
    """Reads the labels from the image, and gives them other vectors in every view.

    Half of the time the vectors of the first two instances coincide.
    """

    def __init__(self, stride: int = 1) -> None:
        self.calls = 0
        self._stride = stride

    def predict(self, image: npt.NDArray[np.uint8]) -> Prediction:
        """Answer at a padded size, as networks do."""
        rng = np.random.default_rng(self.calls)
        labels = np.pad(image, ((0, 3), (0, 5)))[: 96 + 2, : 96 + 2]
        centres = 8.0 * rng.permutation(np.stack(np.divmod(np.arange(16), 4), axis=1))
        if self.calls % 2:
            centres[1] = centres[2]
        self.calls += 1
        embedding = centres[labels].transpose(2, 0, 1)[:, :: self._stride, :: self._stride]
        logits = np.where(labels > 0, 4.0, -4.0)[None]
        return Prediction(embedding.astype(np.float16), logits.astype(np.float16))


def test_views_that_disagree_about_vectors_still_give_every_instance() -> None:
    network = Moody()
    joined = AugmentedNetwork(network, RECIPE)
    image = SCENE.labels.astype(np.uint8)
    labels = read(joined.predict(image), joined.recipe, SCENE.labels.shape)
    assert network.calls == len(VIEWS) == 8
    assert score_labels("joined", SCENE.labels, labels).matchings[0.9].ap == 1


def test_the_joint_answer_is_served_as_its_recipe_says() -> None:
    joined = AugmentedNetwork(Moody(stride=2), replace(RECIPE, stride=2))
    prediction = joined.predict(SCENE.labels.astype(np.uint8)[:90])
    assert joined.recipe.stride == 1
    assert prediction.embedding.shape == (joined.recipe.embedding_size, 90, 96)
    assert prediction.foreground_logits.shape == (1, 90, 96)


def test_distances_are_those_of_the_views_in_the_mean() -> None:
    image = SCENE.labels.astype(np.uint8)
    joined = AugmentedNetwork(Moody(), RECIPE).predict(image).embedding
    (y1, x1), (y2, x2) = (np.argwhere(SCENE.labels == i)[0] for i in (1, 2))
    network = Moody()
    apart = []
    for _ in VIEWS:
        vectors = network.predict(image).embedding.astype(np.float32)
        apart.append(np.square(vectors[:, y1, x1] - vectors[:, y2, x2]).sum())
    distance = np.linalg.norm(joined[:, y1, x1] - joined[:, y2, x2])
    assert distance == pytest.approx(np.sqrt(np.mean(apart)), rel=1e-3)


def test_bytes_are_read_as_the_recipe_says() -> None:
    class InBytes:
        def predict(self, image: npt.NDArray[np.uint8]) -> Prediction:
            logits = np.ones((1, *image.shape), np.float16)
            return Prediction(np.full((2, *image.shape), 130, np.uint8), logits)

    joined = AugmentedNetwork(InBytes(), replace(RECIPE, embedding_scale=(0.5, 2.0)))
    embedding = joined.predict(np.zeros((4, 6), np.uint8)).embedding * np.sqrt(8)
    assert joined.recipe.embedding_scale == ()
    assert embedding[:, 0, 0].reshape(8, 2) == pytest.approx(np.tile([1.0, 4.0], (8, 1)))


@pytest.mark.parametrize("method", ["associative", "recurrent", "spatial"])
def test_methods_that_read_more_than_distances_are_refused(method: Method) -> None:
    with pytest.raises(ConfigError, match=f"not {method}"):
        AugmentedNetwork(Moody(), replace(RECIPE, method=method, decoder={}))
