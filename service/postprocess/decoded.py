"""What every decoder returns, and what they share.

Axes: E embedding, H W image, K instances.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np

from service.arrays import Bool, Float64, Floats, Int32
from service.postprocess.regions import areas, first_pixels, names_in, rename


@dataclass(frozen=True, slots=True)
class Decoded:
    """Instances of one class, and how well the embedding holds each together.

    Parameters
    ----------
    labels : (H, W) int32
        0 background, else 1..K, in an order that is the same every time.
    confidence : (K,) float64
        In [0, 1].
    """

    labels: Int32
    confidence: Float64


def check(embedding: Floats, foreground: Bool, bandwidth: float) -> None:
    """Refuse what no decoder can work on.

    Raises
    ------
    ValueError
        If the shapes disagree, or the bandwidth is not a positive number that squares.
    """
    if embedding.shape[1:] != foreground.shape:
        raise ValueError(
            f"embedding {embedding.shape} and foreground {foreground.shape} differ in size"
        )
    if not 1e-15 < bandwidth < 1e15:
        raise ValueError(f"bandwidth must be a positive number, not {bandwidth}")


def sample_step(pixels: int) -> int:
    """Return the spacing of the lattice on which a decoder samples so many pixels."""
    return min(6, max(1, isqrt(pixels // 4096)))


def finish(labels: Int32, confidence: Floats, min_pixels: int) -> Decoded:
    """Drop small instances, and number the others by their first pixel.

    Parameters
    ----------
    labels : (H, W) int32
        0 background, else 1..K; renumbered in place.
    confidence : (K,) float32 or float64
        Of each label.
    min_pixels : int
        Smallest instance to keep.
    """
    kept = np.flatnonzero(areas(labels, confidence.size)[1:] >= max(min_pixels, 1))
    order = kept[np.argsort(first_pixels(labels, confidence.size)[kept])]
    rename(labels, names_in(order, confidence.size))
    return Decoded(labels, np.clip(confidence[order].astype(np.float64), 0.0, 1.0))
