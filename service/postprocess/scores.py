"""How likely an instance is right: how tight its cluster is, and how sure its outline."""

from __future__ import annotations

import numpy as np

from service.arrays import Float32, Float64, Floats, Int32, Int64
from service.compiled import inlined, kernel
from service.masks.words import ends
from service.postprocess.exponential import exp32
from service.postprocess.planes import Planes, as_planes, load


def expected_iou(labels: Int32, logits: Floats, count: int) -> Float64:
    """Return the IoU that labels 1..count can be expected to have.

    The probability inside, over the pixels of the instance and the probability that it has missed:
    that of the free pixels which touch it. A dim rim or a doubtful middle lowers it, and a small
    instance, of which more is rim, has less of it.

    Parameters
    ----------
    labels : (H, W) int32
        0 background, else 1..K.
    logits : (H, W) float16 or float32
        Of the foreground, before the sigmoid.
    count : int
        K.
    """
    return _expected_iou(labels, as_planes(logits[np.newaxis]), count)


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
def _expected_iou(labels: Int32, planes: Planes, count: int) -> Float64:
    height, width = labels.shape
    inside, missed = np.zeros(count + 1, np.float64), np.zeros(count + 1, np.float64)
    pixels = np.zeros(count + 1, np.int64)
    row, stops = np.empty((1, max(width, 1)), np.float32), np.empty(max(width, 1), np.int32)
    probability, flat = row[0], labels.ravel()
    filled = np.zeros(height + 2, np.bool_)
    for y in range(height):
        found = np.int32(0)
        for u in range(np.uint64(width)):
            found |= labels[y, u]
        filled[y + 1] = found != 0
    for y in range(height if width else 0):
        if not (filled[y] or filled[y + 1] or filled[y + 2]):
            continue
        load(planes, y, 0, width, row)
        for u in range(np.uint64(width)):
            sure = np.float32(1.0) / (np.float32(1.0) + exp32(-probability[u]))
            probability[u] = np.float32(0.0) if np.isnan(sure) else sure  # background, as ever
        runs = ends(flat, y * width, width, stops)
        _add_runs(labels, y, stops, runs, probability, inside, pixels)
        _add_missed(labels, y, stops, runs, probability, missed)
    return inside[1:] / np.maximum(pixels[1:] + missed[1:], 1.0)


@kernel
def _add_missed(
    labels: Int32, y: int, stops: Int32, runs: int, values: Float32, sums: Float64
) -> None:
    """Add the value of every free pixel of a row to each label that it touches, once."""
    up, down = _rows_beside(labels, y)
    x = 0
    for r in range(runs):
        k, begin, x = labels[y, x], x, int(stops[r])
        if k != 0:
            continue
        for u in range(begin, x):
            above, below = labels[up, u], labels[down, u]
            if above > 0:
                sums[above] += values[u]
            if below > 0 and below != above:
                sums[below] += values[u]
        _add_to_sides(labels, y, begin, x, values, sums)


@kernel
def _add_to_sides(
    labels: Int32, y: int, begin: int, end: int, values: Float32, sums: Float64
) -> None:
    """Add the ends of a free run to the labels left and right of it, unless they had them."""
    up, down = _rows_beside(labels, y)
    left = labels[y, begin - 1] if begin > 0 else np.int32(0)
    right = labels[y, end] if end < labels.shape[1] else np.int32(0)
    if left > 0 and left not in (labels[up, begin], labels[down, begin]):
        sums[left] += values[begin]
    if end - 1 == begin and right == left:  # one pixel, and the same on both sides
        return
    if right > 0 and right not in (labels[up, end - 1], labels[down, end - 1]):
        sums[right] += values[end - 1]


@inlined
def _rows_beside(labels: Int32, y: int) -> tuple[int, int]:
    """Return the rows above and below; at an edge the row itself, where a free run is free."""
    return max(y - 1, 0), min(y + 1, labels.shape[0] - 1)


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
