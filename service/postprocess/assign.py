"""Every pixel to its nearest centre, exactly, without measuring most distances.

A pixel nearer to a centre than half that centre's gap to the next one can have no nearer centre
(triangle inequality). Neighbouring pixels mostly share their centre, so a run of them is tried
against one centre at a time; only pixels that fail are searched for.

Axes: E embedding, H W image, K centres.
"""

from __future__ import annotations

import numpy as np

from service.arrays import Bool, Float32, Int32, Int64
from service.compiled import kernel
from service.masks.words import ends, fill
from service.postprocess.lookup import FAR, Lookup, build, measure, nearest
from service.postprocess.planes import CHUNK, STRETCH, Planes, announce, load

STRAY = -1
"""Label of a foreground pixel that is near to no centre."""

PENDING = -2
"""Label of a foreground pixel that has not been looked at."""


@kernel
def half_gaps2(centres: Float32, lookup: Lookup, radius2: np.float32) -> Float32:
    """Return per centre the square of half the way to its nearest fellow, at most the radius."""
    size, count = centres.shape
    gaps2 = np.empty(count, np.float32)
    work = np.empty(count, np.float32)
    runs = np.empty((lookup.shape[0], 2), np.int64)
    vector = np.empty(size, np.float32)
    for k in range(count):
        vector[:] = centres[:, k]
        _, closest = nearest(lookup, vector, np.float32(2.0) * np.sqrt(radius2), k, work, runs)
        gaps2[k] = min(np.float32(0.25) * closest, radius2)
    return gaps2


@kernel
def assign(
    planes: Planes,
    foreground: Bool,
    centres: Float32,
    radius2: np.float32,
    labels: Int32,
    distances2: Float32,
) -> Int32:
    """Write 1 + the nearest centre within the radius, `STRAY`, or 0; return the pixels of each.

    Pixels that are not foreground, or have no finite position, get 0. Entry 0 of the answer counts
    the strays. `distances2` receives squared distances of labelled pixels, unless it is empty.
    """
    height, width = foreground.shape
    size, count = centres.shape
    radius = np.sqrt(radius2)
    lookup = build(centres, radius)
    runs = np.empty((lookup.shape[0], 2), np.int64)
    gaps2 = half_gaps2(centres, lookup, radius2)
    vectors = centres.T.copy()
    counts = np.zeros(count + 1, np.int32)
    stretch = np.empty((size, STRETCH), np.float32)
    d2 = np.empty(STRETCH, np.float32)
    vector, centre = np.empty(size, np.float32), np.empty(size, np.float32)
    work = np.empty(max(count, 1), np.float32)
    tried = np.full(max(count, 1), -1, np.int64)
    turn = -1
    for y in range(height):
        begin, loaded = 0, 0
        for x in range(0, width, CHUNK):
            end = min(x + CHUNK, width)
            at = _gate(foreground, labels, y, x, end)
            if at == end:
                continue
            if x >= loaded:
                begin, loaded = x, min(x + STRETCH, width)
                load(planes, y, begin, loaded - begin, stretch)
            # What follows is on its way while this is worked on; beyond the row, the next one.
            announce(planes, y, x + STRETCH, end - x)
            turn += 1
            while at < end:
                for e in range(size):
                    vector[e] = stretch[e, at - begin]
                k = _same_as_a_neighbour(labels, y, at, vectors, vector, gaps2, tried, turn)
                if k < 0:
                    if _has_a_place(vector):  # else it has no cell in the lookup either
                        k, best2 = nearest(lookup, vector, radius, -1, work, runs)
                        labels[y, at] = k + 1 if k >= 0 else STRAY
                        counts[k + 1] += 1
                        if distances2.size > 0 and k >= 0:
                            distances2[y, at] = best2
                    else:
                        labels[y, at] = 0
                    if k < 0 or tried[k] == turn:
                        at = _next_pending(labels, y, at, end)
                        continue
                tried[k] = turn
                for e in range(size):
                    centre[e] = vectors[k, e]
                measure(stretch, centre, at - begin, end - begin, d2)
                taken, at = _take(d2, begin, labels, distances2, y, at, end, k + 1, gaps2[k])
                counts[k + 1] += taken
    return counts


@kernel
def _gate(foreground: Bool, labels: Int32, y: int, x: int, end: int) -> int:
    """Mark the foreground of a part of a row as pending; return its first pixel, else `end`."""
    pending, first = np.int32(PENDING), np.int32(end)
    for u in range(np.uint64(x), np.uint64(end)):
        gate = foreground[y, u]
        labels[y, u] = pending if gate else np.int32(0)
        first = min(first, np.int32(u) if gate else np.int32(end))
    return int(first)


@kernel
def _same_as_a_neighbour(
    labels: Int32,
    y: int,
    x: int,
    vectors: Float32,
    vector: Float32,
    gaps2: Float32,
    tried: Int64,
    turn: int,
) -> int:
    """Return a centre that a neighbour has and that must be the nearest, else -1.

    Asked are left, above, and above to the right for slanted edges.
    """
    for n in range(5):
        v, u = (y, x - 1) if n == 0 else (y - 1, x + n - 2)
        if u < 0 or u >= labels.shape[1] or v < 0:
            continue
        k = labels[v, u] - 1
        if k < 0 or tried[k] == turn:
            continue
        d2 = np.float32(0.0)
        for e in range(vector.size):
            gap = vectors[k, e] - vector[e]
            d2 += gap * gap
        if d2 < gaps2[k]:
            return int(k)
    return -1


@kernel
def _has_a_place(vector: Float32) -> bool:
    """Return whether a vector is finite."""
    norm = np.float32(0.0)
    for e in range(vector.size):
        norm += vector[e] * vector[e]
    return bool(norm < FAR)


@kernel
def _next_pending(labels: Int32, y: int, x: int, end: int) -> int:
    while x < end and labels[y, x] != PENDING:
        x += 1
    return x


@kernel
def _take(
    d2: Float32,
    begin: int,
    labels: Int32,
    distances2: Float32,
    y: int,
    x: int,
    end: int,
    name: int,
    bound: np.float32,
) -> tuple[int, int]:
    """Name the pending pixels that are nearer than the bound; return how many, and the next."""
    pending, named, shift = np.int32(PENDING), np.int32(name), np.uint64(begin)
    first, last = np.uint64(x), np.uint64(end)
    taken, after = np.int32(0), np.int32(end)
    wanted = distances2.size > 0
    for u in range(first, last):
        here, gap2 = labels[y, u], d2[u - shift]
        waits, near = here == pending, gap2 < bound
        if wanted:  # one test for all: it is taken out of the loop
            old = distances2[y, u]
            distances2[y, u] = gap2 if waits & near else old
        labels[y, u] = named if waits & near else here
        taken += np.int32(waits & near)
        after = min(after, np.int32(u) if waits & (not near) else np.int32(end))
    return int(taken), int(after)


@kernel
def settle(
    planes: Planes,
    labels: Int32,
    distances2: Float32,
    centres: Float32,
    names: Int32,
    keep: Bool,
    reach2: np.float32,
) -> int:
    """Renumber what is kept by its first pixel, in place; return the number of instances.

    Strays and the pixels of dropped labels go to the nearest centre within reach of a label that is
    kept or part of one that is; else to 0.
    `names` says which label each one is part of, itself or a lower one; `keep` has one entry per
    label, and is False for 0.
    """
    height, width = labels.shape
    size = centres.shape[0]
    centre_of = np.flatnonzero(keep[names]).astype(np.int32)
    kept = np.empty((size, centre_of.size), np.float32)
    for k in range(centre_of.size):
        for e in range(size):
            kept[e, k] = centres[e, centre_of[k] - 1]
    radius = np.sqrt(reach2)
    lookup = build(kept, radius)
    runs = np.empty((lookup.shape[0], 2), np.int64)
    work = np.empty(centre_of.size, np.float32)
    cell, vector = np.empty((size, 1), np.float32), np.empty(size, np.float32)
    numbers = np.zeros(keep.size, np.int32)
    stops = np.empty(max(width, 1), np.int32)
    flat = labels.ravel()
    top = np.int32(0)
    for y in range(height):
        x = 0
        for r in range(ends(flat, y * width, width, stops) if width else 0):
            label, begin, x = labels[y, x], x, int(stops[r])
            if label == 0:
                continue
            if label > 0 and keep[names[label]]:
                if numbers[names[label]] == 0:
                    top += 1
                    numbers[names[label]] = top
                if numbers[names[label]] != label:
                    fill(labels, y, begin, x, numbers[names[label]])
                continue
            for u in range(begin, x):
                load(planes, y, u, 1, cell)
                vector[:] = cell[:, 0]
                k, best2 = nearest(lookup, vector, radius, -1, work, runs)
                if distances2.size > 0:
                    distances2[y, u] = best2
                labels[y, u] = 0
                if k >= 0:
                    name = names[centre_of[k]]
                    if numbers[name] == 0:
                        top += 1
                        numbers[name] = top
                    labels[y, u] = numbers[name]
    return int(top)
