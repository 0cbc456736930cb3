"""Joining clusters that are too close to be two instances.

The loss of arXiv:1708.02551 keeps the means of two instances ``2 * delta_dist`` apart. Where two
means are much closer, the network was of two minds about one instance: its pieces are one. The
more of a rim they share, and the smaller one of them is beside the other instances, the farther
apart they may be.

Axes: E embedding, H W image, K instances.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from service.compiled import kernel
from service.masks.words import ends
from service.postprocess.lookup import Float32, Int32, Int64, build, measure, spans
from service.postprocess.planes import Planes, load
from service.postprocess.seeds import Bool


class Limits(NamedTuple):
    """How close two clusters are that are one: ``below + rim * share - size * part``.

    Parameters
    ----------
    below : float
        Distance of mean vectors in embedding units.
    rim : float
        Weight of the share that they have in common of the shorter rim.
    size : float
        Weight of the size of the smaller as part of that of the middle cluster, 1 at most.
    """

    below: float
    rim: float
    size: float


def join(
    planes: Planes, labels: Int32, counts: Int32, centres: Float32, limits: Limits, smallest: int
) -> tuple[Int32, Int32]:
    """Find the clusters whose means are close, for the rim they share and for their size.

    Parameters
    ----------
    planes : Planes
        The embedding.
    labels : (H, W) int32
        1..K, or 0 and less where there is none.
    counts : (K + 1,) int32
        Pixels of labels 0..K.
    centres : (E, K) float32
        Of labels 1..K; where those have pixels, their means count.
    limits : Limits
        Which clusters are one.
    smallest : int
        Pixels of what counts as a cluster when the middle one is sought.

    Returns
    -------
    names : (K + 1,) int32
        The lowest label that each one is joined to, itself where it is joined to none.
    counts : (K + 1,) int32
        Pixels under each name; labels with the name of another have none.
    """
    means = _means(planes, labels, counts, centres)
    starts, others, gaps = _near(means, np.float32(limits.below + max(limits.rim, 0.0)))
    if others.size == 0:
        return np.arange(counts.size, dtype=np.int32), counts
    lows = np.repeat(np.arange(counts.size), np.diff(starts))
    smaller = np.minimum(counts[lows], counts[others])
    most = limits.below - limits.size * np.minimum(smaller / _middle(counts[1:], smallest), 1.0)
    if limits.rim:
        shared, rims = _borders(labels, starts, others)
        most += limits.rim * shared / np.maximum(np.minimum(rims[lows], rims[others]), 1)
    names = _united(starts, others, (gaps < most) & (smaller > 0))
    return names, np.bincount(names, weights=counts, minlength=counts.size).astype(np.int32)


def _middle(counts: Int32, smallest: int) -> int:
    """Return the size of the middle cluster, the lower one of two; 1 where there is none."""
    sizes = np.sort(counts[counts >= smallest])
    return int(sizes[(sizes.size - 1) // 2]) if sizes.size else 1


@kernel
def _means(planes: Planes, labels: Int32, counts: Int32, centres: Float32) -> Float32:
    """Return the mean vectors ``[E, K]`` of labels 1..K, the centre of those without pixels."""
    height, width = labels.shape
    sums = np.zeros((planes.size, counts.size), np.float64)
    row = np.empty((planes.size, max(width, 1)), np.float32)
    stops = np.empty(max(width, 1), np.int32)
    flat = labels.ravel()
    for y in range(height if width else 0):
        begin = 0
        for r in range(ends(flat, y * width, width, stops)):
            label, end = labels[y, begin], int(stops[r])
            if label > 0:
                load(planes, y, begin, end - begin, row)
                for e in range(planes.size):
                    sums[e, label] += row[e, : end - begin].sum()
            begin = end
    means = centres.copy()
    for k in range(counts.size - 1):
        if counts[k + 1] > 0:
            for e in range(planes.size):
                means[e, k] = sums[e, k + 1] / counts[k + 1]
    return means


@kernel
def _near(means: Float32, below: np.float32) -> tuple[Int64, Int32, Float32]:
    """Return where each label's list starts, and the lists: close higher labels, how far away."""
    size, count = means.shape
    lookup = build(means, below)
    vectors, names = lookup.vectors, lookup.names
    runs = np.empty((lookup.shape[0], 2), np.int64)
    work = np.empty(count, np.float32)
    vector = np.empty(size, np.float32)
    starts = np.zeros(count + 2, np.int64)
    others = np.empty(16, np.int32)
    gaps = np.empty(16, np.float32)
    found = 0
    for k in range(count):
        starts[k + 1] = found
        vector[:] = means[:, k]
        for r in range(spans(lookup, vector, below, runs)):
            measure(vectors, vector, runs[r, 0], runs[r, 1], work)
            for at in range(runs[r, 0], runs[r, 1]):
                if names[at] > k and work[at] < below * below:
                    if found == others.size:
                        others = np.concatenate((others, np.empty(found, np.int32)))
                        gaps = np.concatenate((gaps, np.empty(found, np.float32)))
                    others[found] = names[at] + 1
                    gaps[found] = np.sqrt(work[at])
                    found += 1
    starts[count + 1] = found
    return starts, others[:found].copy(), gaps[:found].copy()


@kernel
def _borders(labels: Int32, starts: Int64, others: Int32) -> tuple[Int32, Int32]:
    """Count the pixel edges that each close pair shares, and those around each of their labels."""
    shared = np.zeros(others.size, np.int32)
    rims = np.zeros(starts.size, np.int32)
    close = _paired(starts, others)
    height, width = labels.shape
    flat = labels.ravel()
    here, below = np.empty(max(width, 1), np.int32), np.empty(max(width, 1), np.int32)
    runs = ends(flat, 0, width, here) if flat.size else 0
    for y in range(height if width else 0):
        for r in range(runs - 1):  # the edge of the image is no rim
            one, other = max(labels[y, here[r] - 1], 0), max(labels[y, here[r]], 0)
            if close[one] | close[other]:
                _count(one, other, 1, starts, others, shared, rims)
        if y + 1 == height:
            break
        runs = ends(flat, (y + 1) * width, width, below)
        x, up, down = 0, 0, 0
        while x < width:  # as far as neither row changes
            one, other = max(labels[y, x], 0), max(labels[y + 1, x], 0)
            stop = int(min(here[up], below[down]))
            if (one != other) & (close[one] | close[other]):
                _count(one, other, stop - x, starts, others, shared, rims)
            up += here[up] == stop
            down += below[down] == stop
            x = stop
        here, below = below, here
    return shared, rims


@kernel
def _paired(starts: Int64, others: Int32) -> Bool:
    """Return which labels are in a pair: of the rest, which are most, no edge counts."""
    close = np.zeros(starts.size, np.bool_)
    for low in range(starts.size - 1):
        close[low] = starts[low] < starts[low + 1]
    for at in range(others.size):
        close[others[at]] = True
    return close


@kernel
def _count(  # noqa: PLR0913 - a stretch of edges, the pairs and both tallies
    one: int, other: int, edges: int, starts: Int64, others: Int32, shared: Int32, rims: Int32
) -> None:
    """Count the edges between two labels, 0 the background."""
    low, high = min(one, other), max(one, other)
    if low == high:
        return
    rims[low] += edges
    rims[high] += edges
    for at in range(starts[low], starts[low + 1]):
        shared[at] += edges if others[at] == high else 0


@kernel
def _united(starts: Int64, others: Int32, joined: np.ndarray) -> Int32:
    """Name each label after the lowest one that it is joined to, directly or through others."""
    names = np.arange(starts.size - 1).astype(np.int32)
    for low in range(starts.size - 1):
        for at in range(starts[low], starts[low + 1]):
            if joined[at]:
                a, b = low, others[at]
                while names[a] != a:
                    a = names[a]
                while names[b] != b:
                    b = names[b]
                names[max(a, b)] = min(a, b)
    for label in range(names.size):
        names[label] = names[names[label]]
    return names
