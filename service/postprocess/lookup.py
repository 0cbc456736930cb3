"""Finding the centres near a vector without looking at all of them.

Centres are sorted into a grid over the two coordinates along which they vary most, four where they
are many: two vectors within a distance of each other are within it along each coordinate. The cells
of one row of the grid lie next to each other, so a search measures few runs of memory.

Axes: E embedding, K centres.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from service.arrays import Float32, Int32, Int64
from service.compiled import inlined, kernel

FAR = np.float32(1e30)
"""Squared distances at or above this, NaN included, belong to pixels without a position."""

FEW = 64
"""Up to so many centres, one cell holds them all."""

MANY = 1024
"""Beyond so many, two coordinates leave too many centres in a cell."""

AXES = 4
"""Coordinates of a grid at most; those that are not needed have one cell."""


class Lookup(NamedTuple):
    """Centres in the order of their cells.

    Parameters
    ----------
    vectors : (E, K) float32
        The centres.
    names : (K,) int32
        Their numbers before sorting.
    starts : (rows * columns + 1,) int64
        Where each cell begins.
    axes : (4,) int64
        The coordinates that the grid spans.
    cells : (4,) int64
        How many cells there are along each.
    shape : (2,) int64
        Rows, which go over all coordinates but the last, and columns.
    frame : (5,) float32
        Lower ends of the coordinates, and the side of a cell.
    """

    vectors: Float32
    names: Int32
    starts: Int64
    axes: Int64
    cells: Int64
    shape: Int64
    frame: Float32


@kernel
def build(centres: Float32, side: np.float32) -> Lookup:
    """Sort centres into cells of about the given side."""
    size, count = centres.shape
    axes = np.zeros(AXES, np.int64)
    cells = np.ones(AXES, np.int64)
    frame = np.zeros(AXES + 1, np.float32)
    frame[AXES] = side
    if count > FEW:
        spread = np.empty(size, np.float32)
        extent = np.zeros(AXES, np.float32)
        for e in range(size):
            spread[e] = np.var(centres[e])
        for a in range(AXES - min(size, AXES if count > MANY else 2), AXES):
            axes[a] = np.argmax(spread)
            spread[axes[a]] = np.float32(-1.0)
            frame[a] = centres[axes[a]].min()
            extent[a] = centres[axes[a]].max() - frame[a]
        while np.prod(extent / frame[AXES] + np.float32(1.0)) > 4.0 * count:
            frame[AXES] *= np.float32(2.0)
        for a in range(AXES):
            cells[a] = int(extent[a] / frame[AXES]) + 1
    shape = np.array([cells[0] * cells[1] * cells[2], cells[3]])
    starts = np.zeros(shape[0] * shape[1] + 1, np.int64)
    homes = np.zeros(count, np.int64)
    for k in range(count):
        for a in range(AXES):
            place = _cell(centres[axes[a], k], frame[a], frame[AXES], cells[a])
            homes[k] = homes[k] * cells[a] + place
        starts[homes[k] + 1] += 1
    for c in range(starts.size - 1):
        starts[c + 1] += starts[c]
    filled = starts.copy()
    vectors = np.empty((size, count), np.float32)
    names = np.empty(count, np.int32)
    for k in range(count):
        at = filled[homes[k]]
        filled[homes[k]] += 1
        names[at] = k
        for e in range(size):
            vectors[e, at] = centres[e, k]
    return Lookup(vectors, names, starts, axes, cells, shape, frame)


@kernel
def _cell(value: np.float32, low: np.float32, side: np.float32, cells: int) -> int:
    """Return the row or column of a coordinate, held to the grid."""
    place = (value - low) / side
    return int(min(max(place, np.float32(0.0)), np.float32(cells - 1)))


@kernel
def spans(lookup: Lookup, vector: Float32, radius: np.float32, out: Int64) -> int:
    """Write where each run of centres within reach starts and stops; return how many runs."""
    starts, cells = lookup.starts, lookup.cells
    if starts.size == 2:
        out[0, 0], out[0, 1] = 0, starts[1]
        return int(starts[1] > 0)
    top, bottom = _reach(lookup, vector, radius, 0)
    near, far = _reach(lookup, vector, radius, 1)
    first, last = _reach(lookup, vector, radius, 2)
    left, right = _reach(lookup, vector, radius, 3)
    count = 0
    for i in range(top, bottom + 1):
        for j in range(near, far + 1):
            for row in range(first, last + 1):
                at = ((i * cells[1] + j) * cells[2] + row) * cells[3]
                start, stop = starts[at + left], starts[at + right + 1]
                if start < stop:
                    out[count, 0], out[count, 1] = start, stop
                    count += 1
    return count


@inlined
def _reach(lookup: Lookup, vector: Float32, radius: np.float32, a: int) -> tuple[int, int]:
    """Return the first and the last cell within reach along one coordinate of the grid."""
    at, low, side = vector[lookup.axes[a]], lookup.frame[a], lookup.frame[AXES]
    cells = lookup.cells[a]
    return _cell(at - radius, low, side, cells), _cell(at + radius, low, side, cells)


@kernel
def measure(rows: Float32, vector: Float32, start: int, stop: int, out: Float32) -> None:
    """Write the squared distances from a vector to columns ``start:stop`` of `rows`."""
    # Unsigned, so that no index may count from the end: else the loops are not vectorised. A slice
    # would do as well, but each one counts references, which other cores must hear of.
    first, last, size = np.uint64(start), np.uint64(stop), np.uint64(rows.shape[0])
    one, two, three, four = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
    for p in range(first, last):
        out[p] = np.float32(0.0)
    e = np.uint64(0)
    while e + four <= size:  # four at a time: fewer trips of the sums through memory
        a, b, c, d = vector[e], vector[e + one], vector[e + two], vector[e + three]
        for p in range(first, last):
            ga, gb = rows[e, p] - a, rows[e + one, p] - b
            gc, gd = rows[e + two, p] - c, rows[e + three, p] - d
            out[p] += ga * ga + gb * gb + gc * gc + gd * gd
        e += four
    while e < size:
        a = vector[e]
        for p in range(first, last):
            ga = rows[e, p] - a
            out[p] += ga * ga
        e += one


@inlined
def gap2(centre: Float32, vector: Float32) -> np.float32:
    """Return the squared distance of two vectors."""
    summed = np.float32(0.0)
    for e in range(vector.size):
        gap = centre[e] - vector[e]
        summed += gap * gap
    return summed


@kernel
def nearest(
    lookup: Lookup, vector: Float32, radius: np.float32, skip: int, work: Float32, runs: Int64
) -> tuple[int, np.float32]:
    """Return the nearest centre within the radius, `skip` left out, and its distance squared.

    On a tie, the first; (-1, FAR) if there is none. `work` (K,) and `runs` (rows, 2) are scratch.
    """
    best, best2 = -1, FAR
    limit = radius * radius
    vectors, names = lookup.vectors, lookup.names  # once: each mention counts references
    for r in range(spans(lookup, vector, radius, runs)):
        start, stop = runs[r, 0], runs[r, 1]
        measure(vectors, vector, start, stop, work)
        for k in range(start, stop):
            name = names[k]
            if work[k] > limit or name == skip:
                continue
            if work[k] < best2 or (work[k] == best2 and name < best):
                best, best2 = name, work[k]
    return best, best2
