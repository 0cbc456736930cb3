"""Which part of the answer costs accuracy: the foreground or the grouping.

The ablation of arXiv:1708.02551 (Table 2): predicted against true foreground, clustering against
the true centres, that is the mean vector of every true instance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from service.arrays import Int32
from service.domain import Prediction
from service.postprocess.quantised import dequantise
from service.recipe import Recipe
from training.config.checks import require
from training.data.dataset import Dataset, Sample
from training.metrics.score import Score, score_labels
from training.scoring.decoding import Network, read, samples

_CERTAIN = 20.0
"""Logit of a foreground that is known."""


def ablate(network: Network, dataset: Dataset, recipe: Recipe) -> Iterator[tuple[str, str, Score]]:
    """Score the four combinations of foreground and grouping.

    Parameters
    ----------
    network : Network
        Runs once per image.
    dataset : Dataset
        Images with truth.
    recipe : Recipe
        Of one class.

    Raises
    ------
    ConfigError
        If there are several classes.

    Yields
    ------
    foreground, grouping : str
        ``predicted`` or ``true``; ``clustering`` or ``true centres``.
    score : Score
        The result.
    """
    require(len(recipe.classes) == 1, "the ablation knows one class only")
    pairs = [(sample, network.predict(sample.image)) for sample in samples(dataset)]
    for foreground in ("predicted", "true"):
        for grouping in ("clustering", "true centres"):
            images = []
            for sample, prediction in pairs:
                known = prediction
                if foreground == "true":
                    known = with_true_foreground(prediction, sample)
                if grouping == "clustering":
                    labels = read(known, recipe, sample.labels.shape)
                else:
                    labels = around_true_centres(known, recipe, sample)
                images.append(score_labels(sample.name, sample.labels, labels))
            yield foreground, grouping, Score(tuple(images))


def with_true_foreground(prediction: Prediction, sample: Sample) -> Prediction:
    """Replace the foreground by the truth; what lies in the padding is background."""
    height, width = sample.labels.shape
    logits = np.full(prediction.foreground_logits.shape, -_CERTAIN, np.float16)
    logits[0, :height, :width][sample.labels > 0] = _CERTAIN
    return replace(prediction, foreground_logits=logits)


def around_true_centres(prediction: Prediction, recipe: Recipe, sample: Sample) -> Int32:
    """Give every foreground pixel to the nearest mean vector of a true instance, if near enough.

    Parameters
    ----------
    prediction : Prediction
        Of the sample's image.
    recipe : Recipe
        ``bandwidth`` bounds the distance; 1.5 when it is not set.
    sample : Sample
        The truth.
    """
    height, width = sample.labels.shape
    stride = recipe.stride
    sent = dequantise(prediction.embedding, recipe.embedding_scale, recipe.embedding_slope)
    embedding = sent.repeat(stride, axis=1).repeat(stride, axis=2)
    vectors = embedding[:, :height, :width].astype(np.float32)
    if recipe.method == "recurrent":  # which knows directions only
        vectors /= np.maximum(np.linalg.norm(vectors, axis=0), np.finfo(np.float32).tiny)
    if recipe.method == "spatial":  # whose vectors count from their pixel
        vectors += np.indices((height, width)) / recipe.decoder["unit_px"]
    ids = np.unique(sample.labels[sample.labels > 0])
    centres = [vectors[:, sample.labels == i].mean(axis=1) for i in ids]
    logit = np.log(recipe.foreground_threshold / (1 - recipe.foreground_threshold))
    foreground = prediction.foreground_logits[0, :height, :width] > logit
    pixels = vectors[:, foreground].T
    nearest = np.zeros(len(pixels), np.int32)
    best = np.full(len(pixels), recipe.decoder.get("bandwidth", 1.5) ** 2, np.float32)
    for number, centre in enumerate(centres, start=1):
        distance = np.square(pixels - centre).sum(axis=1)
        nearest[distance < best] = number
        best = np.minimum(best, distance)
    labels = np.zeros(sample.labels.shape, np.int32)
    labels[foreground] = nearest
    return labels
