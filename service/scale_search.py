"""The scale at which a network is most at home in an image: what ``scale=auto`` asks for.

Where objects are about as large as in training, the network is surest of what it finds. So the
image is looked at in octaves, and the scale stays at which the scores are highest; a size that is
unusual for the model counts against it, since pieces of objects may score well, too.

Axes: H W image, h w as the network sees it.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from service.arrays import UInt8
from service.domain import ImageLimits, Prediction
from service.imaging.scaling import rescale
from service.postprocess.extract import label
from service.postprocess.regions import areas
from service.postprocess.tiling import plan_tiles
from service.request import ScaledImage

FIRST: Final = (1.0, 0.5, 0.25)
"""Looked at in any case: what is reduced costs little."""
SMALLEST, LARGEST = 1 / 16, 4.0
"""How far the search goes where it gets better and better."""
SMALL: Final = 0.5
"""Share of the usual diameter below which enlarging is worth its cost."""
OCTAVE: Final = 0.06
"""What a diameter of twice or half the usual one takes from the mean score; it grows as the square
of the octaves. Chosen, as the rest, on images of the validation list of `nuclei` at nine
magnifications; from 0.03 to 0.1 it makes little difference."""

Pixels = UInt8


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of an image at one scale.

    Parameters
    ----------
    scaled : ScaledImage
        At that scale; without a prediction where only a part was looked at.
    fitness : float
        Mean score, less what the size of the objects takes from it; minus infinity where nothing
        was found.
    diameter_px : float
        Median of the instances, of circles of their area, as the network sees them; 0 where
        nothing was found.
    """

    scaled: ScaledImage
    fitness: float
    diameter_px: float


def judge(scaled: ScaledImage, prediction: Prediction) -> Look:
    """Tell how much at home a network is in what it saw.

    Parameters
    ----------
    scaled : ScaledImage
        What went into it.
    prediction : Prediction
        What came out. Instances are found as the recipe says, whatever the caller asks for, and
        those that it would not show do not count; scores alone decide where its `object_px` is 0.
    """
    recipe = scaled.model.recipe
    found = label(prediction, recipe, scaled.size)
    shown = found.scores >= recipe.min_score
    if not shown.any():
        return Look(scaled, -math.inf, 0.0)
    area = float(np.median(areas(found.labels, found.scores.size)[1:][shown]))
    diameter = 2 * math.sqrt(area / math.pi)
    octaves = math.log2(diameter / recipe.object_px) if recipe.object_px else 0.0
    return Look(scaled, float(found.scores[shown].mean()) - OCTAVE * octaves**2, diameter)


async def best_look(
    look: Callable[[float], Awaitable[Look]], usual_px: float, largest: float
) -> Look:
    """Search the scale.

    Parameters
    ----------
    look : callable
        Looks at one scale.
    usual_px : float
        Diameter of the objects that the network knows best; 0: nobody knows, and nothing is
        enlarged.
    largest : float
        Largest scale that the image may have, 1 or more.

    Returns
    -------
    Look
        The best; of equals, such as of empty images, the one at the scale nearest to 1.
    """
    best = await look(FIRST[0])
    for scale in FIRST[1:]:
        best = _better(best, await look(scale))
    while further := _beyond(best, usual_px, largest):
        ahead = await look(further)
        if _better(best, ahead) is best:
            break
        best = ahead
    return best


def _better(best: Look, other: Look) -> Look:
    return other if other.fitness > best.fitness else best


def _beyond(best: Look, usual_px: float, largest: float) -> float | None:
    """Return the next scale in the direction in which it may get better still."""
    scale = best.scaled.scale
    if scale <= FIRST[-1]:
        return scale / 2 if scale / 2 >= SMALLEST else None
    if scale >= 1 and best.diameter_px < SMALL * usual_px and 2 * scale <= min(largest, LARGEST):
        return 2 * scale
    return None


def largest_scale(size: tuple[int, int], limits: ImageLimits) -> float:
    """Return the largest scale that leaves an image of size ``(H, W)`` within the limits."""
    height, width = size
    by_pixels = math.sqrt(limits.max_pixels / (height * width))
    return min(by_pixels, limits.max_side_px / max(height, width))


def part_at(scaled: ScaledImage, scale: float, side: int, limits: ImageLimits) -> ScaledImage:
    """Bring an image to a scale; of one that is too large to be seen whole, the busiest part.

    Parameters
    ----------
    scaled : ScaledImage
        The image as it is.
    scale : float
        Of the sides.
    side : int
        Longest side of what is seen.
    limits : ImageLimits
        What an image may be at most.
    """
    part = _busiest(scaled.image.pixels, max(1, int(side / scale)))
    return ScaledImage(scaled.model, scaled.image, scale, rescale(part, scale, limits))


def _busiest(pixels: Pixels, side: int) -> Pixels:
    """Return the window in which grey levels vary the most; an image no larger than one, itself."""
    height, width = pixels.shape[:2]
    if max(height, width) <= side:
        return pixels
    windows = [pixels[tile.window] for tile in plan_tiles(height, width, side, 0)]
    return max(windows, key=lambda window: float(window[::4, ::4].std()))
