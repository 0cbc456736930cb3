"""What every decoder returns, and what they share.

Axes: E embedding, H W image, K instances.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np

from service.arrays import Bool, Float32, Float64, Floats, Int32
from service.compiled import kernel
from service.postprocess import regions


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


def finish(labels: Int32, values: Float32, top: int, min_pixels: int) -> Decoded:
    """Drop small instances and average a value over each of the others.

    Parameters
    ----------
    labels : (H, W) int32
        0 background, else up to `top`; renumbered in place.
    values : (H, W) float32
        What to average; read at labelled pixels only.
    top : int
        Largest label.
    min_pixels : int
        Smallest instance to keep.
    """
    count = regions.tidy(labels, regions.areas(labels, top), max(min_pixels, 1))
    return Decoded(labels, np.clip(mean_of(labels, values, count), 0.0, 1.0))


@kernel
def mean_of(labels: Int32, values: Float32, count: int) -> Float64:
    """Return the mean of `values` over each label 1..count."""
    sums = np.zeros(count + 1, np.float64)
    pixels = np.zeros(count + 1, np.int64)
    height, width = labels.shape
    for y in range(height):
        x = 0
        while x < width:  # one run of a label at a time: its sum stays in a register
            k = labels[y, x]
            start, summed = x, 0.0
            while x < width and labels[y, x] == k:
                summed += values[y, x]
                x += 1
            if k > 0:
                sums[k] += summed
                pixels[k] += x - start
    for k in range(count + 1):
        sums[k] /= max(pixels[k], 1)
    return sums[1:]
