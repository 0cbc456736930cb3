"""Joining clusters that are too close to be two instances.

The loss of arXiv:1708.02551 keeps the centres of two instances ``2 * delta_dist`` apart. Where two
centres are much closer, the network was of two minds about one instance: its pieces are one. Where
the loss has reached zero, no two centres are that close, and nothing is joined.

Axes: E embedding, H W image, K instances.
"""

from __future__ import annotations

import numpy as np

from service.compiled import kernel
from service.postprocess.lookup import Float32, Int32, Int64, build, measure, spans


def join(labels: Int32, counts: Int32, centres: Float32, *, below: float, border: float) -> Int32:
    """Give one label to clusters whose centres are close and which touch along enough of their rim.

    Parameters
    ----------
    labels : (H, W) int32
        1..K, or 0 and less where there is none; changed in place.
    counts : (K + 1,) int32
        Pixels of labels 0..K.
    centres : (E, K) float32
        Of labels 1..K.
    below : float
        Distance of centres, in embedding units, under which two clusters may be one.
    border : float
        Share of the shorter rim that they must have in common; 0 joins pieces that lie apart too.

    Returns
    -------
    (K + 1,) int32
        Pixels of each label now; those that were joined to a lower one have none.
    """
    starts, others = _near(centres, np.float32(below))
    if others.size == 0:
        return counts
    shared, rims = _borders(labels, starts, others)
    names = _united(starts, others, shared >= border * _shorter(starts, others, rims))
    _rename(labels, names)
    return np.bincount(names, weights=counts, minlength=counts.size).astype(np.int32)


@kernel
def _near(centres: Float32, below: np.float32) -> tuple[Int64, Int32]:
    """Return for each label where its list starts, and the lists: higher labels that are close."""
    size, count = centres.shape
    lookup = build(centres, below)
    runs = np.empty((lookup.shape[0], 2), np.int64)
    work = np.empty(count, np.float32)
    vector = np.empty(size, np.float32)
    starts = np.zeros(count + 2, np.int64)
    others = np.empty(16, np.int32)
    found = 0
    for k in range(count):
        starts[k + 1] = found
        vector[:] = centres[:, k]
        for r in range(spans(lookup, vector, below, runs)):
            measure(lookup.vectors, vector, runs[r, 0], runs[r, 1], work)
            for at in range(runs[r, 0], runs[r, 1]):
                if lookup.names[at] > k and work[at] < below * below:
                    if found == others.size:
                        others = np.concatenate((others, np.empty(found, np.int32)))
                    others[found] = lookup.names[at] + 1
                    found += 1
    starts[count + 1] = found
    return starts, others[:found].copy()


@kernel
def _borders(labels: Int32, starts: Int64, others: Int32) -> tuple[Int32, Int32]:
    """Count the pixel edges that each close pair shares, and those around each label."""
    shared = np.zeros(others.size, np.int32)
    rims = np.zeros(starts.size, np.int32)
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            here = max(labels[y, x], 0)
            for way in range(2):
                v, u = (y, x + 1) if way == 0 else (y + 1, x)
                if v == height or u == width:  # the edge of the image is no rim
                    continue
                there = max(labels[v, u], 0)
                if here == there:
                    continue
                rims[here] += 1
                rims[there] += 1
                low, high = min(here, there), max(here, there)
                for at in range(starts[low], starts[low + 1]):
                    shared[at] += others[at] == high
    return shared, rims


@kernel
def _shorter(starts: Int64, others: Int32, rims: Int32) -> Int32:
    """Return the shorter rim of each close pair."""
    shorter = np.empty(others.size, np.int32)
    for low in range(starts.size - 1):
        for at in range(starts[low], starts[low + 1]):
            shorter[at] = min(rims[low], rims[others[at]])
    return shorter


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


@kernel
def _rename(labels: Int32, names: Int32) -> None:
    """Replace labels above 0 by their names, in place."""
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            if labels[y, x] > 0:
                labels[y, x] = names[labels[y, x]]
