"""Search decoder settings on validation data: the network runs once, decoding many times."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from types import MappingProxyType

import numpy as np

from service.arrays import Bool, Float64
from service.domain import Method, Prediction
from service.postprocess.extract import extract, find
from service.recipe import Recipe
from training.data.dataset import Dataset, Sample
from training.metrics.matching import overlap
from training.metrics.score import THRESHOLDS, Score
from training.scoring.calibration import fit_calibration
from training.scoring.decoding import Network, samples
from training.scoring.evaluation import classes_of, score_answer

Pairs = Sequence[tuple[Sample, Prediction]]
Stage = Callable[[Recipe], Iterable[Recipe]]

GROUPING: Mapping[Method, tuple[str, tuple[float, ...]]] = MappingProxyType(
    {
        # Around ``delta_dist``; zero loss allows [1, 2) about a pixel, [0.5, 2.5) about a centre.
        "discriminative": ("bandwidth", (1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5)),
        "associative": ("bandwidth", (0.25, 0.375, 0.5, 0.75, 1.0)),
        "metric_learning": ("alpha", (0.1, 0.2, 0.3, 0.4, 0.5)),
        "recurrent": ("kappa", (10.0, 20.0, 40.0, 80.0)),
        "spatial": ("min_seed", (0.5, 0.6, 0.7, 0.8, 0.9)),
    }
)
"""The setting of each method's decoder that decides what belongs together, and what is tried."""

JOINING: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        # Distances of means under which clusters may be one; zero loss keeps them 3 apart.
        "join_below": (1.7, 2.3, 2.9),
        "join_rim": (0.0, 3.0),
        "join_size": (0.0, 1.5, 3.0),
    }
)
"""What decides which clusters of `discriminative` are one (`service.postprocess.joining`)."""

NARROWER: tuple[float, ...] = (1.0, 0.85)
"""Of the bandwidth: what is joined afterwards may fall apart first."""

FOREGROUND: tuple[float, ...] = (0.4, 0.45, 0.5, 0.55, 0.6, 0.65)
"""Foreground probabilities."""

MIN_PIXELS: tuple[float, ...] = (16.0, 32.0, 64.0, 128.0, 256.0)
"""Smallest instances."""

SMALLER: tuple[float, ...] = (1.0, 0.75, 0.5)
"""Of the smallest instance: what is small and doubtful may fall by its score instead."""

LEAST: tuple[float, ...] = (0.0, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7)
"""Smallest scores."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting and its result."""

    recipe: Recipe
    score: Score


def tune(
    network: Network, dataset: Dataset, recipe: Recipe, *, refit: bool = True
) -> Iterator[Trial]:
    """Try settings, one after the other, keeping the best of each before the next.

    Parameters
    ----------
    network : Network
        Runs once per image.
    dataset : Dataset
        Validation data, never test data.
    recipe : Recipe
        Where the search starts.
    refit : bool
        Fit the curve of the scores; else it stays as it is.

    Yields
    ------
    Trial
        Every setting tried; the last one is the best, once more.

    Notes
    -----
    First what groups pixels (`GROUPING`), then whether close clusters are joined, then foreground
    threshold and smallest size together: the groups hardly depend on each other. The curve of the
    scores is fitted at the end, for a few smallest sizes, and then the smallest score is chosen.
    """
    pairs = predicted(network, dataset)
    recipe = replace(recipe, min_score=0.0)
    best = Trial(recipe, score(pairs, recipe))
    yield best
    best = yield from climb(pairs, best, (_groupings, _joins, _masks))
    if refit:
        # Without a smallest score AP is the same with any curve, and the search would keep the old.
        best = _with_curve(pairs, best.recipe)
    yield (yield from climb(pairs, best, [partial(_leasts, pairs, refit=refit)]))


def climb(pairs: Pairs, best: Trial, stages: Iterable[Stage]) -> Generator[Trial, None, Trial]:
    """Try what each stage makes of the best so far.

    Parameters
    ----------
    pairs : sequence of (Sample, Prediction)
        Images with truth, and the network's output for them.
    best : Trial
        Where it starts.
    stages : iterable of callable
        Each gives the recipes to try from the best one of before.

    Yields
    ------
    Trial
        Every recipe tried.

    Returns
    -------
    Trial
        The best, the earlier one where two are as good.
    """
    for stage in stages:
        for candidate in stage(best.recipe):
            trial = Trial(candidate, score(pairs, candidate))
            yield trial
            if trial.score.mean_ap > best.score.mean_ap:
                best = trial
    return best


def refitted(network: Network, dataset: Dataset, recipe: Recipe) -> Trial:
    """Fit the curve of the scores alone; parameters as for `tune`."""
    return _with_curve(predicted(network, dataset), recipe)


def predicted(network: Network, dataset: Dataset) -> Pairs:
    """Run the network on every image, once for all settings to come."""
    return [(sample, network.predict(sample.image)) for sample in samples(dataset)]


def usual_diameter(dataset: Dataset) -> float:
    """Return the median diameter of all objects, of circles of their area, in pixels; 0 of none."""
    counts = [np.bincount(sample.labels[sample.labels > 0]) for sample in samples(dataset)]
    areas = np.concatenate([sizes[sizes > 0] for sizes in counts])
    return round(float(np.median(2 * np.sqrt(areas / np.pi))), 1) if areas.size else 0.0


def _groupings(recipe: Recipe) -> list[Recipe]:
    name, values = GROUPING[recipe.method]
    return [replace(recipe, decoder={**recipe.decoder, name: value}) for value in values]


def _joins(recipe: Recipe) -> list[Recipe]:
    if recipe.method != "discriminative":
        return []
    bandwidth = recipe.decoder["bandwidth"]
    return [
        replace(
            recipe,
            decoder={
                **recipe.decoder,
                "bandwidth": bandwidth * share,
                **dict(zip(JOINING, values, strict=True)),
            },
        )
        for *values, share in product(*JOINING.values(), NARROWER)
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


def _leasts(pairs: Pairs, recipe: Recipe, *, refit: bool) -> Iterator[Recipe]:
    for share in SMALLER:
        pixels = round(recipe.decoder.get("min_pixels", 1.0) * share)
        smaller = replace(recipe, decoder={**recipe.decoder, "min_pixels": float(pixels)})
        if refit:
            smaller = _fitted(pairs, smaller)
        for least in LEAST:
            yield replace(smaller, min_score=least)


def _with_curve(pairs: Pairs, recipe: Recipe) -> Trial:
    fitted = _fitted(pairs, recipe)
    return Trial(fitted, score(pairs, fitted))


def _fitted(pairs: Pairs, recipe: Recipe) -> Recipe:
    return replace(recipe, score_calibration=fit_calibration(*outcomes(pairs, recipe)))


def outcomes(pairs: Pairs, recipe: Recipe) -> tuple[Float64, Float64, Bool]:
    """Tell how sure every answer looks, and whether it is right: what `fit_calibration` takes.

    Parameters
    ----------
    pairs : sequence of (Sample, Prediction)
        Images with truth, and the network's output for them.
    recipe : Recipe
        How it is read.
    """
    parts = []
    for sample, prediction in pairs:
        found = find(prediction, recipe, sample.labels.shape)
        categories = [recipe.classes[c].id for c in found.classes.tolist()]
        pair = overlap(sample.labels, found.labels, classes_of(sample, categories))
        right = pair.iou.max(axis=0, initial=0.0) >= THRESHOLDS[0]
        at = pair.pred_ids - 1
        parts.append((found.confidence[at], found.overlap[at], right))
    confidence, overlaps, right = (np.concatenate(part) for part in zip(*parts, strict=True))
    return confidence, overlaps, right


def score(pairs: Pairs, recipe: Recipe) -> Score:
    """Score what a recipe reads in the predictions; parameters as for `outcomes`."""
    return Score(
        tuple(
            score_answer(sample, extract(prediction, recipe, sample.labels.shape))
            for sample, prediction in pairs
        )
    )
