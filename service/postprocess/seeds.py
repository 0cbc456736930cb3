"""Centres of clusters: a sample of the pixels, its leaders moved by mean shift, merged.

Axes: E embedding, S samples, K centres. Vectors are kept plane by plane, ``[E, S]`` and ``[E, K]``,
so that the inner loops run along samples or centres.
"""

from __future__ import annotations

import numpy as np

from service.arrays import Bool, Float32, Int32, Int64
from service.compiled import inlined, kernel
from service.postprocess.lookup import FAR, FEW, build, measure, spans
from service.postprocess.planes import Planes, load, widen

OUTWEIGHS = 16
"""How many times the samples a cluster has that an outlier beside it has."""

PAIRS = 256
"""How many pairs of neighbouring pixels say whether clusters have dissolved."""

OUTNUMBER = 9
"""In dissolved clusters, how many times the near pairs those farther apart are at least."""


@kernel
def gather(
    planes: Planes, foreground: Bool, step: int, offset: int
) -> tuple[Float32, Int32, Int32]:
    """Return vectors ``[E, S]`` of the foreground on a lattice, their pixels, and a grid.

    Pixels are raster indices; the grid numbers the samples, -1 where there is none. Every other
    row of the lattice is shifted by half a step, so that narrow upright objects are met too.
    """
    height, width = foreground.shape
    rows = (height + step - 1 - offset % step) // step if height > offset % step else 0
    columns = (width + step - 1) // step
    grid = np.full((rows, columns), -1, np.int32)
    most = 0
    for j in range(rows):
        for x in range(_first(j, step, offset), width, step):
            most += foreground[offset % step + j * step, x]
    samples = np.empty((planes.size, most), np.float32)
    pixels = np.empty(most, np.int32)
    count = 0
    for j in range(rows):
        y, shift = offset % step + j * step, _first(j, step, offset)
        n = count
        for x in range(shift, width, step):
            if foreground[y, x]:
                pixels[n] = x
                n += 1
        norms = np.zeros(n - count, np.float32)
        for e in range(planes.size):  # a plane at a time: memory is read in one direction
            line = planes.values[e * planes.plane + y * planes.row :]
            for s in range(count, n):
                samples[e, s] = widen(line[pixels[s]])
                norms[s - count] += samples[e, s] * samples[e, s]
        for s in range(count, n):
            if not norms[s - (n - norms.size)] < FAR:
                continue
            for e in range(planes.size):
                samples[e, count] = samples[e, s]
            grid[j, (pixels[s] - shift) // step] = count
            pixels[count] = y * width + pixels[s]
            count += 1
    if count < most:
        samples = samples[:, :count].copy()
    return samples, pixels[:count], grid


@inlined
def _first(row: int, step: int, offset: int) -> int:
    """Return the first column of a row of the lattice."""
    return (offset // step + (step // 2) * (row % 2)) % step


@kernel
def dissolved(
    planes: Planes, foreground: Bool, samples: Float32, pixels: Int32, radius2: np.float32
) -> bool:
    """Return whether pixels next to each other mostly lie between one radius and two apart.

    Then the noise is wider than the radius: a sample has no others around it, though its cluster
    is there. Where instances are small, pixels next to each other may belong to two of them; but
    those of one are near, and those of two mostly far.
    """
    width = foreground.shape[1]
    size, total = samples.shape
    cell = np.empty((size, 1), np.float32)
    near, between, pairs = 0, 0, 0
    for s in range(0, total, max(total // PAIRS, 1)):
        y = pixels[s] // width
        x = pixels[s] - y * width + 1
        if x == width or not foreground[y, x]:
            continue
        load(planes, y, x, 1, cell)
        d2 = np.float32(0.0)
        for e in range(size):
            gap = samples[e, s] - cell[e, 0]
            d2 += gap * gap
        pairs += 1
        near += int(d2 < radius2)
        between += int((d2 >= radius2) & (d2 <= np.float32(4.0) * radius2))
    return (2 * between > pairs) & (between > OUTNUMBER * near)


@kernel
def coherent(planes: Planes, mask: Bool, radius2: np.float32) -> Bool:
    """Return the pixels of the mask that share it with a 4-neighbour within the radius.

    Noise strays alone; an object that the sample has missed still has neighbouring pixels.
    """
    height, width = mask.shape
    out = np.zeros((height, width), np.bool_)
    here = np.empty((planes.size, 1), np.float32)
    there = np.empty((planes.size, 1), np.float32)
    for y in range(height):
        for x in range(width):
            if not mask[y, x]:
                continue
            load(planes, y, x, 1, here)
            for n in range(2):
                v, u = y + n, x + 1 - n
                if v >= height or u >= width or not mask[v, u]:
                    continue
                load(planes, v, u, 1, there)
                d2 = np.float32(0.0)
                for e in range(planes.size):
                    gap = here[e, 0] - there[e, 0]
                    d2 += gap * gap
                if d2 <= radius2:
                    out[y, x] = True
                    out[v, u] = True
    return out


@kernel
def shift(
    samples: Float32, owners: Int32, leaders: Float32, radius2: np.float32, rounds: int
) -> tuple[Float32, Int32, Int32]:
    """Move each leader to the mean of the samples around it until it rests.

    Returns the resting places, how many samples lie around each, and how many within half the
    radius; no samples where a leader comes to the resting place of an earlier one. Samples are
    sorted by their leader first; only blocks that a ball can reach are looked at.
    """
    size, total = samples.shape
    count = leaders.shape[1]
    rows, starts = _by_leader(samples, owners, count)
    reach2, reach = _reaches(rows, starts, leaders, radius2)
    d2 = np.empty(max(total, count), np.float32)
    vector = np.empty(size, np.float32)
    lookup = build(leaders, reach)
    sorted_leaders, names = lookup.vectors, lookup.names
    runs = np.empty((lookup.shape[0], 2), np.int64)
    centres = leaders.copy()
    support = np.zeros(count, np.int32)
    core = np.zeros(count, np.int32)
    sums = np.empty(size, np.float64)
    gaps2 = np.empty(count, np.float32)
    near = np.empty(count, np.int32)
    rested = np.empty((size, min(count, FEW)), np.float32)
    resting = 0
    for k in range(count):
        followed = False
        for _ in range(rounds):
            vector[:] = centres[:, k]
            sums[:] = 0.0
            inside, inner = 0, 0
            found = 0
            for r in range(spans(lookup, vector, reach, runs)):
                measure(sorted_leaders, vector, runs[r, 0], runs[r, 1], gaps2)
                for at in range(runs[r, 0], runs[r, 1]):
                    if gaps2[at] <= reach2[names[at]]:
                        near[found] = names[at]
                        found += 1
            for at in range(found):
                start, stop = starts[near[at]], starts[near[at] + 1]
                measure(rows, vector, start, stop, d2)
                block = d2[start:stop]
                for s in range(block.size):
                    inside += block[s] < radius2
                    inner += block[s] <= np.float32(0.25) * radius2
                for e in range(size):
                    row = rows[e, start:stop]
                    summed = np.float32(0.0)
                    for s in range(block.size):
                        summed += row[s] if block[s] < radius2 else np.float32(0.0)
                    sums[e] += summed
            support[k], core[k] = inside, inner
            if inside == 0:
                break
            moved2 = 0.0
            for e in range(size):
                moved2 += (sums[e] / inside - centres[e, k]) ** 2
                centres[e, k] = sums[e] / inside
            vector[:] = centres[:, k]
            measure(rested, vector, 0, resting, gaps2)
            for at in range(resting):
                followed |= gaps2[at] <= radius2 / np.float32(16.0)
            if followed:
                support[k] = core[k] = 0
            if followed or moved2 <= radius2 * 1e-4:
                break
        if not followed and resting < rested.shape[1]:
            rested[:, resting] = centres[:, k]
            resting += 1
    return centres, support, core


@kernel
def _by_leader(samples: Float32, owners: Int32, count: int) -> tuple[Float32, Int64]:
    """Return the samples sorted by their leader, and where each leader's block begins."""
    size, total = samples.shape
    starts = np.zeros(count + 1, np.int64)
    for s in range(total):
        starts[owners[s] + 1] += 1
    for k in range(count):
        starts[k + 1] += starts[k]
    rows = np.empty((size, total), np.float32)
    filled = starts.copy()
    for s in range(total):
        at = filled[owners[s]]
        filled[owners[s]] += 1
        for e in range(size):
            rows[e, at] = samples[e, s]
    return rows, starts


@kernel
def _reaches(
    rows: Float32, starts: Int64, leaders: Float32, radius2: np.float32
) -> tuple[Float32, np.float32]:
    """Return how far from a leader a ball meets its block, squared, and how far at the most."""
    size, count = leaders.shape
    d2 = np.empty(rows.shape[1], np.float32)
    reach2 = np.empty(count, np.float32)
    widest = np.float32(0.0)
    vector = np.empty(size, np.float32)
    for k in range(count):
        vector[:] = leaders[:, k]
        measure(rows, vector, starts[k], starts[k + 1], d2)
        block2 = np.float32(0.0)
        for s in range(starts[k], starts[k + 1]):
            block2 = max(block2, d2[s])
        widest = max(widest, np.sqrt(block2))
        reach2[k] = (np.sqrt(radius2) + np.sqrt(block2)) ** 2 * np.float32(1.0001)
    return reach2, np.float32((np.sqrt(radius2) + widest) * np.float32(1.0001))


@kernel
def merge(centres: Float32, support: Int32, apart2: np.float32, reach2: np.float32) -> Float32:
    """Keep the centres that no better supported one is near to, best first.

    Near is closer than `apart2`; or than `reach2`, where the other has `OUTWEIGHS` times the
    support: such a centre sits on an outlier, and would be nearest to the cluster's own pixels.
    """
    size, total = centres.shape
    lookup = build(centres, np.float32(2.0) * np.sqrt(reach2))
    vectors, names = lookup.vectors, lookup.names
    runs = np.empty((lookup.shape[0], 2), np.int64)
    work = np.empty(total, np.float32)
    vector = np.empty(size, np.float32)
    keeps = np.zeros(total, np.bool_)
    kept = np.empty((size, total), np.float32)
    count = 0
    for k in np.argsort(-support, kind="mergesort"):
        vector[:] = centres[:, k]
        fresh = True
        for r in range(spans(lookup, vector, np.sqrt(reach2), runs)):
            measure(vectors, vector, runs[r, 0], runs[r, 1], work)
            for at in range(runs[r, 0], runs[r, 1]):
                other = names[at]
                if keeps[other]:
                    outlier = support[k] * OUTWEIGHS <= support[other]
                    fresh &= not work[at] <= (reach2 if outlier else apart2)
        if fresh:
            keeps[k] = True
            kept[:, count] = vector
            count += 1
    return kept[:, :count].copy()
