"""How likely an instance is right: how tight its cluster is, and how sure its foreground."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from service.compiled import kernel
from service.postprocess.exponential import exp32
from service.postprocess.planes import Planes, as_planes, load

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


def foreground_confidence(
    labels: Int32, logits: npt.NDArray[np.floating[Any]], count: int
) -> Float64:
    """Return the mean foreground probability of labels 1..count.

    Parameters
    ----------
    labels : (H, W) int32
        0 background, else 1..K.
    logits : (H, W) float16 or float32
        Before the sigmoid.
    count : int
        K.
    """
    return _mean_probability(labels, as_planes(logits[np.newaxis]), count)


@kernel
def closeness(labels: Int32, distances2: Float32, count: int, factor: np.float32) -> Float64:
    """Return the mean of ``exp(factor * distances2)`` over labels 1..count."""
    height, width = labels.shape
    sums = np.zeros(count + 1, np.float64)
    pixels = np.zeros(count + 1, np.int64)
    row = np.empty(width, np.float32)
    for y in range(height):
        for x in range(width):
            row[x] = exp32(distances2[y, x] * factor)
        _add_runs(labels[y], row, sums, pixels)
    return sums[1:] / np.maximum(pixels[1:], 1)


@kernel
def _mean_probability(labels: Int32, planes: Planes, count: int) -> Float64:
    height, width = labels.shape
    sums = np.zeros(count + 1, np.float64)
    pixels = np.zeros(count + 1, np.int64)
    row = np.empty((1, max(width, 1)), np.float32)
    probability = row[0]
    for y in range(height):
        load(planes, y, 0, width, row)
        for x in range(width):
            probability[x] = np.float32(1.0) / (np.float32(1.0) + exp32(-probability[x]))
        _add_runs(labels[y], probability, sums, pixels)
    return sums[1:] / np.maximum(pixels[1:], 1)


@kernel
def _add_runs(labels: Int32, values: Float32, sums: Float64, pixels: Int64) -> None:
    """Add the values of one row, a run of equal labels at a time, to the sums by label."""
    x = 0
    while x < labels.size:
        k = labels[x]
        start, summed = x, np.float32(0.0)
        while x < labels.size and labels[x] == k:
            summed += values[x]
            x += 1
        sums[k] += summed
        pixels[k] += x - start
