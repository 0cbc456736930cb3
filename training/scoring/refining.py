"""Search near the settings that a model has, in finer steps and with its smallest score in force.

`training.scoring.tuning` goes through wide ranges, and drops what scores little only at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from service.decoder_settings import DECODER_SETTINGS
from service.recipe import Recipe
from training.data.dataset import Dataset
from training.scoring.decoding import Network
from training.scoring.tuning import GROUPING, Trial, climb, predicted, score

ROUNDS = 2
"""How often all settings are gone through."""

# Sizes of steps, and how many are gone to both sides.
_OF_THE_RECIPE = {"foreground_threshold": 0.02, "min_score": 0.025}
_JOINING = {"join_below": 0.15, "join_rim": 0.5, "join_size": 0.25}
_THREE, _TWO = (-3, -2, -1, 1, 2, 3), (-2, -1, 1, 2)


def refine(network: Network, dataset: Dataset, recipe: Recipe) -> Iterator[Trial]:
    """Try one setting after the other; parameters as for `tune`, the curve of the scores stays.

    Yields
    ------
    Trial
        Every setting tried, the first as it was; the last one is the best, once more.
    """
    pairs = predicted(network, dataset)
    best = Trial(recipe, score(pairs, recipe))
    yield best
    names = (GROUPING[recipe.method][0], *_JOINING, "min_pixels", *_OF_THE_RECIPE)
    for _ in range(ROUNDS):
        before = best
        best = yield from climb(pairs, best, [partial(near, name=name) for name in names])
        if best is before:
            break
    yield best


def near(recipe: Recipe, name: str) -> list[Recipe]:
    """Give the recipe with one setting a few steps lower and higher, as far as it may be.

    Parameters
    ----------
    recipe : Recipe
        Where to step from.
    name : str
        Of a setting: none is given where the recipe does not set it.
    """
    if name in _OF_THE_RECIPE:
        values = _steps(getattr(recipe, name), _OF_THE_RECIPE[name], _THREE)
        return [replace(recipe, **{name: value}) for value in values if 0 < value < 1]  # type: ignore[arg-type]
    if name not in recipe.decoder:
        return []
    value = recipe.decoder[name]
    if name == "min_pixels":
        values = _steps(value, max(4.0, value // 8), _TWO)
    elif name in _JOINING:
        values = _steps(value, _JOINING[name], _TWO)
    else:  # what groups pixels, in steps of some 3 %
        values = _steps(value, float(f"{0.03 * value:.1g}"), _THREE)
    allowed = DECODER_SETTINGS[recipe.method][name]
    return [
        replace(recipe, decoder={**recipe.decoder, name: value})
        for value in values
        if allowed.holds(value)
    ]


def _steps(value: float, size: float, counts: tuple[int, ...]) -> list[float]:
    return [round(value + count * size, 6) for count in counts]
