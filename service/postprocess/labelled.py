"""What decoders hand on: instances in a label image, and what a caller asks of them.

Axes: H W image, K instances.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.arrays import Float64, Int32, Int64
from service.domain import MAX_INSTANCES
from service.postprocess.regions import names_in, rename


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractOptions:
    """What a caller may ask for; None is the recipe's value.

    Parameters
    ----------
    bandwidth : float, optional
        Clustering radius in embedding units.
    foreground_threshold : float, optional
        Probability above which a pixel is foreground, in (0, 1).
    min_area : int, optional
        Smallest instance to keep, in pixels.
    min_score : float, optional
        Smallest score to keep.
    max_instances : int
        Most instances to keep; the best scored stay.
    class_ids : frozenset of int, optional
        Ids of the categories to look for.
    """

    bandwidth: float | None = None
    foreground_threshold: float | None = None
    min_area: int | None = None
    min_score: float | None = None
    max_instances: int = MAX_INSTANCES
    class_ids: frozenset[int] | None = None


DEFAULT_OPTIONS = ExtractOptions()


@dataclass(frozen=True, slots=True)
class Labelled:
    """Instances before they are ranked, filtered and encoded.

    Parameters
    ----------
    labels : (H, W) int32
        0 background, else 1..K.
    scores : (K,) float64
        In [0, 1].
    classes : (K,) int64
        Index of each instance's class in the recipe.
    """

    labels: Int32
    scores: Float64
    classes: Int64


@dataclass(frozen=True, slots=True)
class Found:
    """Instances before they are scored.

    Parameters
    ----------
    labels : (H, W) int32
        0 background, else 1..K.
    confidence, overlap : (K,) float64
        Of the decoder, and expected IoU: what a score is made of.
    classes : (K,) int64
        Index of each instance's class in the recipe.
    """

    labels: Int32
    confidence: Float64
    overlap: Float64
    classes: Int64


def chosen(found: Labelled, order: npt.NDArray[np.intp]) -> Labelled:
    """Keep the instances with these indices, numbered in this order; labels change in place."""
    rename(found.labels, names_in(order, found.scores.size))
    return Labelled(found.labels, found.scores[order], found.classes[order])
