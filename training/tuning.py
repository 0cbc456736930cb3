"""Search decoder settings on validation data: the network runs once, decoding many times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from service.domain import Prediction
from service.recipe import Recipe
from training.data.dataset import Dataset, Sample
from training.decoding import Network, answer, samples
from training.evaluation import score_answer
from training.metrics.score import Score

BANDWIDTHS: tuple[float, ...] = (1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5)
"""Around ``delta_dist``; zero loss allows [1, 2) about a pixel, [0.5, 2.5) about a centre."""

FOREGROUND: tuple[float, ...] = (0.4, 0.45, 0.5, 0.55, 0.6, 0.65)
"""Foreground probabilities."""

MIN_PIXELS: tuple[float, ...] = (16.0, 32.0, 64.0, 128.0)
"""Smallest instances."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting and its result."""

    recipe: Recipe
    score: Score


def tune(network: Network, dataset: Dataset, recipe: Recipe) -> Iterator[Trial]:
    """Try settings, one after the other, keeping the best of each before the next.

    Parameters
    ----------
    network : Network
        Runs once per image.
    dataset : Dataset
        Validation data, never test data.
    recipe : Recipe
        Where the search starts.

    Yields
    ------
    Trial
        Every setting tried; the last one is the best, once more.

    Notes
    -----
    First the bandwidth, then foreground threshold and smallest size together: the two groups
    hardly depend on each other.
    """
    pairs = [(sample, network.predict(sample.image)) for sample in samples(dataset)]
    best = Trial(recipe, _score(pairs, recipe))
    yield best
    for stage in (_bandwidths, _masks):
        for candidate in stage(best.recipe):
            trial = Trial(candidate, _score(pairs, candidate))
            yield trial
            if trial.score.mean_ap > best.score.mean_ap:
                best = trial
    yield best


def _bandwidths(recipe: Recipe) -> list[Recipe]:
    return [
        replace(recipe, decoder={**recipe.decoder, "bandwidth": bandwidth})
        for bandwidth in BANDWIDTHS
    ]


def _masks(recipe: Recipe) -> list[Recipe]:
    return [
        replace(
            recipe,
            foreground_threshold=threshold,
            decoder={**recipe.decoder, "min_pixels": pixels},
        )
        for threshold, pixels in product(FOREGROUND, MIN_PIXELS)
    ]


def _score(pairs: Sequence[tuple[Sample, Prediction]], recipe: Recipe) -> Score:
    return Score(
        tuple(
            score_answer(sample, answer(prediction, recipe, sample.labels.shape))
            for sample, prediction in pairs
        )
    )
