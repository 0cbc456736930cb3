"""Centres of clusters: leaders on a sample of the pixels, moved by mean shift, merged.

Axes: E embedding, S samples, K centres. Vectors are kept plane by plane, ``[E, S]`` and ``[E, K]``,
so that the inner loops run along samples or centres.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from service.compiled import kernel
from service.postprocess.lookup import FAR, build, gap2, measure, spans
from service.postprocess.planes import Planes, load

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Bool = npt.NDArray[np.bool_]


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
    # The older centres where they were when last sorted, which is near to where they are now;
    # the newer ones are few and all measured.
    radius = np.sqrt(radius2)
    sorted_count = 0
    lookup = build(centres[:, :0].copy(), radius)
    runs = np.empty((1, 2), np.int64)
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
                if gap2(centres[:, k], vector) <= radius2:
                    owner = k
                    break
            if owner < 0:
                best2 = radius2
                found = 0
                if sorted_count > 0:
                    found = spans(lookup, vector, np.float32(2.0) * radius, runs)
                for r in range(found):
                    measure(lookup.vectors, vector, runs[r, 0], runs[r, 1], work)
                    for at in range(runs[r, 0], runs[r, 1]):
                        if work[at] > np.float32(4.0) * radius2:
                            continue
                        k = lookup.names[at]
                        d2 = gap2(centres[:, k], vector)
                        if d2 <= best2:
                            owner, best2 = k, d2
                measure(centres, vector, sorted_count, count, work)
                for k in range(sorted_count, count):
                    if work[k] <= best2:
                        owner, best2 = k, work[k]
            if owner < 0:
                if count == members.size:
                    centres = np.concatenate((centres, centres), axis=1)
                    members = np.concatenate((members, members))
                    work = np.concatenate((work, work))
                owner = count
                members[owner] = 0
                for e in range(size):
                    centres[e, owner] = vector[e]
                count += 1
                if count - sorted_count > 256 + sorted_count // 16:
                    lookup = build(centres[:, :count].copy(), radius)
                    runs = np.empty((lookup.shape[0], 2), np.int64)
                    sorted_count = count
            owners[s] = owner
            members[owner] += 1
            weight = np.float32(1.0) / np.float32(members[owner])
            for e in range(size):
                centres[e, owner] += (vector[e] - centres[e, owner]) * weight
    return centres[:, :count].copy(), owners


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
    reach2 = np.empty(count, np.float32)  # of the ball and of the block together
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
    reach = (np.sqrt(radius2) + widest) * np.float32(1.0001)
    lookup = build(leaders, reach)
    runs = np.empty((lookup.shape[0], 2), np.int64)
    centres = leaders.copy()
    support = np.zeros(count, np.int32)
    sums = np.empty(size, np.float64)
    gaps2 = np.empty(count, np.float32)
    near = np.empty(count, np.int32)
    for k in range(count):
        for _ in range(rounds):
            vector[:] = centres[:, k]
            sums[:] = 0.0
            inside = 0
            found = 0
            for r in range(spans(lookup, vector, reach, runs)):
                measure(lookup.vectors, vector, runs[r, 0], runs[r, 1], gaps2)
                for at in range(runs[r, 0], runs[r, 1]):
                    if gaps2[at] <= reach2[lookup.names[at]]:
                        near[found] = lookup.names[at]
                        found += 1
            for at in range(found):
                start, stop = starts[near[at]], starts[near[at] + 1]
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
    lookup = build(centres, np.float32(2.0) * np.sqrt(radius2))
    runs = np.empty((lookup.shape[0], 2), np.int64)
    work = np.empty(total, np.float32)
    vector = np.empty(size, np.float32)
    keeps = np.zeros(total, np.bool_)
    kept = np.empty((size, total), np.float32)
    count = 0
    for k in np.argsort(-support, kind="mergesort"):
        vector[:] = centres[:, k]
        fresh = True
        for r in range(spans(lookup, vector, np.sqrt(radius2), runs)):
            measure(lookup.vectors, vector, runs[r, 0], runs[r, 1], work)
            for at in range(runs[r, 0], runs[r, 1]):
                fresh &= not (keeps[lookup.names[at]] and work[at] <= radius2)
        if fresh:
            keeps[k] = True
            kept[:, count] = vector
            count += 1
    return kept[:, :count].copy()
