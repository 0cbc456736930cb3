"""Centres of clusters: leaders on a sample of the pixels, moved by mean shift, merged.

Axes: E embedding, S samples, K centres. Vectors are kept plane by plane, ``[E, S]`` and ``[E, K]``,
so that the inner loops run along samples or centres.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from service.compiled import kernel
from service.postprocess.planes import Planes, load

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Bool = npt.NDArray[np.bool_]

FAR = np.float32(1e30)
"""Squared distances at or above this, NaN included, belong to pixels without a position."""


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
    most = min(rows * columns, np.count_nonzero(foreground))
    samples = np.empty((planes.size, most), np.float32)
    pixels = np.empty(most, np.int32)
    count = 0
    vector = np.empty((planes.size, 1), np.float32)
    for j in range(rows):
        y = offset % step + j * step
        shift = (offset // step + (step // 2) * (j % 2)) % step
        for i in range(columns):
            x = shift + i * step
            if x >= width or not foreground[y, x]:
                continue
            load(planes, y, x, 1, vector)
            norm = np.float32(0.0)
            for e in range(planes.size):
                norm += vector[e, 0] * vector[e, 0]
            if not norm < FAR:
                continue
            for e in range(planes.size):
                samples[e, count] = vector[e, 0]
            grid[j, i] = count
            pixels[count] = y * width + x
            count += 1
    return samples[:, :count].copy(), pixels[:count], grid


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
def measure(rows: Float32, vector: Float32, start: int, stop: int, out: Float32) -> None:
    """Write the squared distances from a vector to columns ``start:stop`` of `rows`."""
    # Slices that start at 0: a loop over indices of unknown sign is not vectorised.
    size, count = rows.shape[0], stop - start
    sums = out[start:stop]
    sums[:] = np.float32(0.0)
    e = 0
    while e + 4 <= size:  # four at a time: fewer trips of the sums through memory
        a, b = rows[e, start:stop], rows[e + 1, start:stop]
        c, d = rows[e + 2, start:stop], rows[e + 3, start:stop]
        va, vb, vc, vd = vector[e], vector[e + 1], vector[e + 2], vector[e + 3]
        for p in range(count):
            ga, gb, gc, gd = a[p] - va, b[p] - vb, c[p] - vc, d[p] - vd
            sums[p] += ga * ga + gb * gb + gc * gc + gd * gd
        e += 4
    while e < size:
        a, va = rows[e, start:stop], vector[e]
        for p in range(count):
            ga = a[p] - va
            sums[p] += ga * ga
        e += 1


@kernel
def nearest(vector: Float32, centres: Float32, count: int, work: Float32) -> tuple[int, np.float32]:
    """Return the nearest of the first `count` centres (the first on a tie), and its distance².

    `work` is scratch space for `count` numbers; the answer is (-1, FAR) without centres.
    """
    measure(centres, vector, 0, count, work)
    best, best2 = -1, FAR
    for k in range(count):
        if work[k] < best2:
            best, best2 = k, work[k]
    return best, best2


@kernel
def lead(samples: Float32, grid: Int32, radius2: np.float32) -> tuple[Float32, Int32]:
    """Open a centre at every sample that no centre is near to; return centres and owners.

    A centre is the running mean of its samples. Neighbours in the image are asked first, so that
    the search over all centres is left for the first rows of each object.
    """
    size, total = samples.shape
    centres = np.empty((size, 64), np.float32)
    members = np.empty(64, np.int32)
    work = np.empty(64, np.float32)
    owners = np.empty(total, np.int32)
    vector = np.empty(size, np.float32)
    count = 0
    rows, columns = grid.shape
    for j in range(rows):
        for i in range(columns):
            s = grid[j, i]
            if s < 0:
                continue
            for e in range(size):
                vector[e] = samples[e, s]
            owner = -1
            for n in range(4):
                v = j if n == 0 else j - 1
                u = i - 1 if n == 0 else i + n - 2
                if v < 0 or u < 0 or u >= columns or grid[v, u] < 0:
                    continue
                k = owners[grid[v, u]]
                d2 = np.float32(0.0)
                for e in range(size):
                    gap = centres[e, k] - vector[e]
                    d2 += gap * gap
                if d2 <= radius2:
                    owner = k
                    break
            if owner < 0:
                owner, d2 = nearest(vector, centres, count, work)
                if owner >= 0 and not d2 <= radius2:
                    owner = -1
            if owner < 0:
                if count == members.size:
                    centres = _wider(centres)
                    members = np.concatenate((members, members))
                    work = np.concatenate((work, work))
                owner = count
                members[owner] = 0
                for e in range(size):
                    centres[e, owner] = vector[e]
                count += 1
            owners[s] = owner
            members[owner] += 1
            weight = np.float32(1.0) / np.float32(members[owner])
            for e in range(size):
                centres[e, owner] += (vector[e] - centres[e, owner]) * weight
    return centres[:, :count].copy(), owners


@kernel
def _wider(centres: Float32) -> Float32:
    """Return a copy with room for twice as many centres."""
    wide = np.empty((centres.shape[0], 2 * centres.shape[1]), np.float32)
    wide[:, : centres.shape[1]] = centres
    return wide


@kernel
def shift(
    samples: Float32, owners: Int32, leaders: Float32, radius2: np.float32, rounds: int
) -> tuple[Float32, Int32]:
    """Move each leader to the mean of the samples around it until it rests.

    Returns the resting places and how many samples lie around each. Samples are sorted by their
    leader first; only blocks that a ball can reach are looked at.
    """
    size, total = samples.shape
    count = leaders.shape[1]
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
    d2 = np.empty(max(total, count), np.float32)
    spans = np.empty(count, np.float32)  # radius of the ball plus that of the block
    vector = np.empty(size, np.float32)
    for k in range(count):
        vector[:] = leaders[:, k]
        measure(rows, vector, starts[k], starts[k + 1], d2)
        widest = np.float32(0.0)
        for s in range(starts[k], starts[k + 1]):
            widest = max(widest, d2[s])
        spans[k] = (np.sqrt(radius2) + np.sqrt(widest)) ** 2 * np.float32(1.0001)
    centres = leaders.copy()
    support = np.zeros(count, np.int32)
    sums = np.empty(size, np.float64)
    gaps2 = np.empty(count, np.float32)
    for k in range(count):
        for _ in range(rounds):
            vector[:] = centres[:, k]
            measure(leaders, vector, 0, count, gaps2)
            sums[:] = 0.0
            inside = 0
            for h in range(count):
                if gaps2[h] > spans[h]:
                    continue
                start, stop = starts[h], starts[h + 1]
                measure(rows, vector, start, stop, d2)
                block = d2[start:stop]
                for s in range(block.size):
                    inside += block[s] <= radius2
                for e in range(size):
                    row = rows[e, start:stop]
                    summed = np.float32(0.0)
                    for s in range(block.size):
                        summed += row[s] if block[s] <= radius2 else np.float32(0.0)
                    sums[e] += summed
            support[k] = inside
            if inside == 0:
                break
            moved2 = 0.0
            for e in range(size):
                moved2 += (sums[e] / inside - centres[e, k]) ** 2
                centres[e, k] = sums[e] / inside
            if moved2 <= radius2 * 1e-6:
                break
    return centres, support


@kernel
def merge(centres: Float32, support: Int32, radius2: np.float32) -> Float32:
    """Keep the centres that no better supported one is within the radius of, best first."""
    size, total = centres.shape
    order = np.argsort(-support, kind="mergesort")
    kept = np.empty((size, total), np.float32)
    work = np.empty(total, np.float32)
    count = 0
    for k in order:
        _, d2 = nearest(centres[:, k].copy(), kept, count, work)
        if d2 <= radius2:
            continue
        for e in range(size):
            kept[e, count] = centres[e, k]
        count += 1
    return kept[:, :count].copy()
