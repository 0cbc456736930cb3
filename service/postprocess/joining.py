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

from service.arrays import Float32, Float64, Int32, Int64
from service.compiled import inlined, kernel
from service.masks.words import ends
from service.postprocess.lookup import build, measure, spans
from service.postprocess.planes import Planes, load


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
    middle = _middle(counts[1:], smallest)
    names = np.arange(counts.size, dtype=np.int32)
    _join_near(means, counts, names, float(limits.below), float(limits.size), middle)
    if limits.rim:
        lows, highs, shares = _beside(labels, means, np.float32(limits.below + limits.rim))
        gaps = np.linalg.norm(means[:, lows - 1] - means[:, highs - 1], axis=0)
        parts = np.minimum(np.minimum(counts[lows], counts[highs]) / middle, 1.0)
        joined = gaps < limits.below + limits.rim * shares - limits.size * parts
        _join_pairs(names, lows[joined], highs[joined])
    _settle(names)
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
def _join_near(
    means: Float32, counts: Int32, names: Int32, below: float, by_size: float, middle: int
) -> None:
    """Join the labels whose means are close enough without a rim in common.

    Pairs are not listed: where many clusters are near one another, there are as many as squared.
    """
    size, count = means.shape
    reach = np.float32(below)
    lookup = build(means, reach)
    vectors, others = lookup.vectors, lookup.names
    runs = np.empty((lookup.shape[0], 2), np.int64)
    work = np.empty(count, np.float32)
    vector = np.empty(size, np.float32)
    for k in range(count):
        vector[:] = means[:, k]
        for r in range(spans(lookup, vector, reach, runs)):
            measure(vectors, vector, runs[r, 0], runs[r, 1], work)
            for at in range(runs[r, 0], runs[r, 1]):
                if others[at] <= k or not work[at] < reach * reach:
                    continue
                smaller = min(counts[k + 1], counts[others[at] + 1])
                most = below - by_size * min(smaller / middle, 1.0)
                if smaller > 0 and np.sqrt(work[at]) < most:
                    _unite(names, k + 1, others[at] + 1)


def _beside(labels: Int32, means: Float32, below: np.float32) -> tuple[Int64, Int64, Float64]:
    """Return the pairs of labels that touch and are close, the lower first, and their shares.

    A share is the part of the shorter rim that they have in common.
    """
    pairs, edges, rims = _borders(labels, means, below)
    pairs, at = np.unique(pairs, return_inverse=True)
    lows, highs = np.divmod(pairs, rims.size)
    shared = np.bincount(at, weights=edges, minlength=pairs.size)
    return lows, highs, shared / np.maximum(np.minimum(rims[lows], rims[highs]), 1)


@kernel
def _borders(labels: Int32, means: Float32, below: np.float32) -> tuple[Int64, Int32, Int32]:
    """Return each stretch of pixel edges between two close labels, and the edges around all.

    Of a stretch, ``low * (K + 1) + high`` and its length; one pair may have many.
    """
    pairs, lengths = np.empty(1024, np.int64), np.empty(1024, np.int32)
    rims = np.zeros(means.shape[1] + 1, np.int32)
    height, width = labels.shape
    flat = labels.ravel()
    here, under = np.empty(max(width, 1), np.int32), np.empty(max(width, 1), np.int32)
    runs = ends(flat, 0, width, here) if flat.size else 0
    found, below2 = 0, below * below
    for y in range(height if width else 0):
        if found + 3 * width > pairs.size:  # as many as a row may add
            pairs = np.concatenate((pairs, np.empty(found + 3 * width, np.int64)))
            lengths = np.concatenate((lengths, np.empty(found + 3 * width, np.int32)))
        for r in range(runs - 1):  # the edge of the image is no rim
            one, other = labels[y, here[r] - 1], labels[y, here[r]]
            found = _note(one, other, 1, means, below2, rims, pairs, lengths, found)
        if y + 1 == height:
            break
        runs = ends(flat, (y + 1) * width, width, under)
        x, up, down = 0, 0, 0
        while x < width:  # as far as neither row changes
            one, other = labels[y, x], labels[y + 1, x]
            stop = int(min(here[up], under[down]))
            found = _note(one, other, stop - x, means, below2, rims, pairs, lengths, found)
            up += here[up] == stop
            down += under[down] == stop
            x = stop
        here, under = under, here
    return pairs[:found].copy(), lengths[:found].copy(), rims


@kernel
def _note(  # noqa: PLR0913 - a stretch of edges, what is close, and where to write it
    one: int,
    other: int,
    edges: int,
    means: Float32,
    below2: np.float32,
    rims: Int32,
    pairs: Int64,
    lengths: Int32,
    found: int,
) -> int:
    """Count the edges between two labels, 0 the background; return how many stretches there are."""
    low, high = max(min(one, other), 0), max(one, other, 0)
    if low == high:
        return found
    rims[low] += edges
    rims[high] += edges
    if low == 0:
        return found
    gap2 = np.float32(0.0)
    for e in range(means.shape[0]):
        gap = means[e, low - 1] - means[e, high - 1]
        gap2 += gap * gap
    if not gap2 < below2:
        return found
    pairs[found], lengths[found] = low * rims.size + high, edges
    return found + 1


@kernel
def _join_pairs(names: Int32, lows: Int64, highs: Int64) -> None:
    for at in range(lows.size):
        _unite(names, lows[at], highs[at])


@inlined
def _unite(names: Int32, one: int, other: int) -> None:
    """Let the higher of the two lowest labels, to which these are joined, point to the lower."""
    a, b = names[one], names[other]
    while names[a] != a:
        a = names[a]
    while names[b] != b:
        b = names[b]
    names[one] = names[other] = min(a, b)
    names[max(a, b)] = min(a, b)


@kernel
def _settle(names: Int32) -> None:
    """Name each label after the lowest one that it is joined to, directly or through others."""
    for label in range(names.size):
        names[label] = names[names[label]]
