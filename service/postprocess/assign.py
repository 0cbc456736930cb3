"""Every pixel to its nearest centre, exactly, without measuring most distances.

A pixel nearer to a centre than half that centre's gap to the next one can have no nearer centre
(triangle inequality). Neighbouring pixels mostly share their centre, so a run of them is tried
against one centre at a time; only pixels that fail are searched for.

Axes: E embedding, H W image, K centres.
"""

from __future__ import annotations

import numpy as np

from service.compiled import kernel
from service.postprocess.lookup import FAR, Lookup, build, gap2, measure, nearest
from service.postprocess.planes import CHUNK, STRETCH, Planes, announce, load
from service.postprocess.seeds import Bool, Float32, Int32

STRAY = -1
"""Label of a foreground pixel that is near to no centre."""


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
    wanted = distances2.size > 0
    stretch = np.empty((size, STRETCH), np.float32)
    d2 = np.empty(STRETCH, np.float32)
    vector = np.empty(size, np.float32)
    work = np.empty(max(count, 1), np.float32)
    tried = np.full(max(count, 1), -1, np.int64)
    turn = -1
    pending = np.int32(STRAY - 1)
    for y in range(height):
        begin, loaded = 0, 0
        for x in range(0, width, CHUNK):
            n = min(CHUNK, width - x)
            here = labels[y, x : x + n]
            gate = foreground[y, x : x + n]
            left = 0
            for p in range(n):
                here[p] = pending if gate[p] else np.int32(0)
                left += gate[p]
            if left == 0:
                continue
            if x >= loaded:
                begin, loaded = x, min(x + STRETCH, width)
                load(planes, y, begin, loaded - begin, stretch)
            # What follows is on its way while this is worked on; beyond the row, the next one.
            announce(planes, y, x + STRETCH, n)
            first = x - begin
            turn += 1
            p = 0
            while True:
                while p < n and here[p] != pending:
                    p += 1
                if p == n:
                    break
                for e in range(size):
                    vector[e] = stretch[e, first + p]
                # Neighbours' labels first: left, above, and above to the right for slanted edges.
                k = -1
                for n_asked in range(5):
                    at = x + p - 1 if n_asked == 0 else x + p + n_asked - 1
                    if at < 0 or at >= width or (n_asked > 0 and y == 0):
                        continue
                    name = labels[y, at] if n_asked == 0 else labels[y - 1, at]
                    if name <= 0 or tried[name - 1] == turn:
                        continue
                    if gap2(vectors[name - 1], vector) < gaps2[name - 1]:
                        k = name - 1
                        break
                if k < 0:
                    k, best2 = nearest(lookup, vector, radius, -1, work, runs)
                    if k >= 0:
                        here[p] = k + 1
                        counts[k + 1] += 1
                        if wanted:
                            distances2[y, x + p] = best2
                        if tried[k] == turn:
                            continue
                    else:
                        norm = np.float32(0.0)
                        for e in range(size):
                            norm += vector[e] * vector[e]
                        here[p] = STRAY if norm < FAR else 0
                        counts[0] += norm < FAR
                        continue
                tried[k] = turn
                measure(stretch, vectors[k], first + p, first + n, d2)
                bound = gaps2[k]
                rest, near = here[p:n], d2[first + p : first + n]
                name = np.int32(k + 1)
                hits = np.float32(0.0)  # as wide as its neighbours, so that the loop is vectorised
                for q in range(n - p):
                    hit = (rest[q] == pending) & (near[q] < bound)
                    rest[q] = name if hit else rest[q]
                    hits += np.float32(1.0) if hit else np.float32(0.0)
                counts[name] += np.int32(hits)
                if wanted and hits > 0:
                    close = distances2[y, x + p : x + n]
                    for q in range(n - p):
                        close[q] = near[q] if rest[q] == name else close[q]
    return counts


@kernel
def settle(
    planes: Planes,
    labels: Int32,
    distances2: Float32,
    centres: Float32,
    keep: Bool,
    reach2: np.float32,
) -> None:
    """Give strays and the pixels of dropped centres to the nearest kept one within reach, else 0.

    `keep` has one entry per centre; `centres` are all of them.
    """
    height, width = labels.shape
    size, count = centres.shape
    kept = np.empty((size, count), np.float32)
    names = np.empty(count, np.int32)
    total = 0
    for k in range(count):
        if keep[k]:
            for e in range(size):
                kept[e, total] = centres[e, k]
            names[total] = k + 1
            total += 1
    lookup = build(kept[:, :total].copy(), np.sqrt(reach2))
    runs = np.empty((lookup.shape[0], 2), np.int64)
    work = np.empty(total, np.float32)
    cell = np.empty((size, 1), np.float32)
    vector = np.empty(size, np.float32)
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            if label == 0 or (label > 0 and keep[label - 1]):
                continue
            load(planes, y, x, 1, cell)
            for e in range(size):
                vector[e] = cell[e, 0]
            k, best2 = nearest(lookup, vector, np.sqrt(reach2), -1, work, runs)
            labels[y, x] = names[k] if k >= 0 else 0
            if distances2.size > 0:
                distances2[y, x] = best2
