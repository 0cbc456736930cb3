"""What is left of a model's accuracy on images that are degraded, one kind at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from service.recipe import Recipe
from training.data.dataset import Dataset, Sample
from training.data.degradations import DEGRADATIONS, degrade
from training.metrics.score import Score
from training.scoring.decoding import Network
from training.scoring.evaluation import evaluate


class DegradedDataset:
    """The samples of another data set, degraded.

    Parameters
    ----------
    dataset : Dataset
        What is degraded, each sample the same way every time.
    name : str
        One of `training.data.degradations.DEGRADATIONS`.
    strength : float
        From 0 to 1.
    """

    def __init__(self, dataset: Dataset, name: str, strength: float) -> None:
        self._dataset = dataset
        self._name = name
        self._strength = strength

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Sample:
        sample = self._dataset[index]
        rng = np.random.default_rng([index, *self._name.encode()])
        image, labels = degrade(
            sample.image.astype(np.float32), sample.labels, rng, self._name, self._strength
        )
        return replace(sample, image=image.astype(np.uint8), labels=labels)


def evaluate_degraded(
    network: Network, dataset: Dataset, recipe: Recipe, strength: float
) -> Iterator[tuple[str, Score]]:
    """Score a model on every kind of degraded images, one after the other.

    Parameters
    ----------
    network : Network
        Runs once per image and kind.
    dataset : Dataset
        Images with truth.
    recipe : Recipe
        How the network's output is read.
    strength : float
        Of every degradation, from 0 to 1.

    Yields
    ------
    name : str
        Of the degradation.
    score : Score
    """
    for name in DEGRADATIONS:
        yield name, evaluate(network, DegradedDataset(dataset, name, strength), recipe)
