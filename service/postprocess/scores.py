"""How likely an instance is right: how tight its cluster is, and how sure its foreground."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from service.compiled import kernel
from service.masks.words import ends
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
    row, stops = np.empty(max(width, 1), np.float32), np.empty(max(width, 1), np.int32)
    flat = labels.ravel()
    for y in range(height if width else 0):
        runs = ends(flat, y * width, width, stops)
        if runs == 1 and labels[y, 0] == 0:
            continue
        for u in range(np.uint64(width)):
            # Elsewhere is what memory held before: subnormal numbers cost a hundred times others.
            gap2 = distances2[y, u] if labels[y, u] > 0 else np.float32(0.0)
            row[u] = exp32(gap2 * factor)
        _add_runs(labels, y, stops, runs, row, sums, pixels)
    return sums[1:] / np.maximum(pixels[1:], 1)


@kernel
def _mean_probability(labels: Int32, planes: Planes, count: int) -> Float64:
    height, width = labels.shape
    sums = np.zeros(count + 1, np.float64)
    pixels = np.zeros(count + 1, np.int64)
    row, stops = np.empty((1, max(width, 1)), np.float32), np.empty(max(width, 1), np.int32)
    probability, flat = row[0], labels.ravel()
    for y in range(height if width else 0):
        runs = ends(flat, y * width, width, stops)
        if runs == 1 and labels[y, 0] == 0:
            continue
        load(planes, y, 0, width, row)
        for u in range(np.uint64(width)):
            probability[u] = np.float32(1.0) / (np.float32(1.0) + exp32(-probability[u]))
        _add_runs(labels, y, stops, runs, probability, sums, pixels)
    return sums[1:] / np.maximum(pixels[1:], 1)


@kernel
def _add_runs(  # noqa: PLR0913 - a row, its runs, its values and where they are added
    labels: Int32,
    y: int,
    stops: Int32,
    runs: int,
    values: Float32,
    sums: Float64,
    pixels: Int64,
) -> None:
    """Add the values of one row, a run of equal labels at a time, to the sums by label."""
    x = 0
    for r in range(runs):
        k, begin, x = labels[y, x], x, int(stops[r])
        if k == 0:
            continue
        summed = np.float32(0.0)
        for u in range(np.uint64(begin), np.uint64(x)):
            summed += values[u]
        sums[k] += summed
        pixels[k] += x - begin
