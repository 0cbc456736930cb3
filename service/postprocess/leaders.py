"""Leaders: the first sample of each cluster, and the running mean of those that follow it.

Axes: E embedding, S samples, K centres.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from service.arrays import Float32, Int32, Int64
from service.compiled import kernel
from service.postprocess.lookup import Lookup, build, gap2, measure, spans


class Leaders(NamedTuple):
    """Centres being found: as many as there is room for, most of them sorted.

    Parameters
    ----------
    means : (room, E) float32
        The centres, each in one piece.
    members : (room,) int32
        How many samples each is the mean of.
    lookup : Lookup
        The older ones where they were when last sorted, which is near to where they are now.
    recent : (E, room - older) float32
        The newer ones, which are few and all measured.
    """

    means: Float32
    members: Int32
    lookup: Lookup
    recent: Float32


@kernel
def lead(samples: Float32, grid: Int32, radius2: np.float32) -> tuple[Float32, Int32]:
    """Open a centre at every sample that no centre is near to; return centres and owners.

    A centre is the running mean of its samples. Neighbours in the image are asked first, so that
    the search over all centres is left for the first rows of each object.
    """
    size, total = samples.shape
    owners = np.empty(total, np.int32)
    leaders = _with_room(np.empty((0, size), np.float32), np.empty(0, np.int32), radius2)
    count = 0
    cell = 0
    while True:
        # In a function of its own: a loop that may replace its arrays runs at half the speed.
        cell, count = _lead_on(samples, grid, owners, leaders, cell, count, radius2)
        if cell == grid.size:
            return leaders.means[:count].T.copy(), owners
        leaders = _with_room(leaders.means, leaders.members, radius2)


@kernel
def _lead_on(
    samples: Float32,
    grid: Int32,
    owners: Int32,
    leaders: Leaders,
    cell: int,
    count: int,
    radius2: np.float32,
) -> tuple[int, int]:
    """Go on from a cell of the lattice to its end, or to where there is no room for a new centre.

    Returns the next cell and the number of centres.
    """
    size = samples.shape[0]
    vector = np.empty(size, np.float32)
    work = np.empty(leaders.members.size, np.float32)
    runs = np.empty((leaders.lookup.shape[0], 2), np.int64)
    means, members, recent = leaders.means, leaders.members, leaders.recent
    older = leaders.lookup.names.size
    columns = grid.shape[1]
    flat = grid.ravel()
    for at in range(cell, grid.size):
        s = flat[at]
        if s < 0:
            continue
        j = at // columns
        i = at - j * columns
        for e in range(size):
            vector[e] = samples[e, s]
        owner = _neighbour(grid, j, i, owners, means, vector, radius2)
        if owner < 0:
            owner = _nearest_leader(leaders, count, vector, radius2, work, runs)
        if owner < 0:
            if count == members.size:
                return at, count
            owner = count
            members[owner] = 0
            means[owner] = vector
            count += 1
        owners[s] = owner
        members[owner] += 1
        weight = np.float32(1.0) / np.float32(members[owner])
        for e in range(size):
            means[owner, e] += (vector[e] - means[owner, e]) * weight
        if owner >= older:
            for e in range(size):
                recent[e, owner - older] = means[owner, e]
    return grid.size, count


@kernel
def _nearest_leader(
    leaders: Leaders, count: int, vector: Float32, radius2: np.float32, work: Float32, runs: Int64
) -> int:
    """Return the nearest centre within the radius, else -1."""
    owner, best2 = -1, radius2
    radius, lookup, means = np.sqrt(radius2), leaders.lookup, leaders.means
    vectors, names = lookup.vectors, lookup.names
    # What an older centre has moved since it was sorted is less than another radius.
    for r in range(spans(lookup, vector, np.float32(2.0) * radius, runs)):
        measure(vectors, vector, runs[r, 0], runs[r, 1], work)
        for at in range(runs[r, 0], runs[r, 1]):
            if work[at] > np.float32(4.0) * radius2:
                continue
            d2 = gap2(means[names[at]], vector)
            if d2 < best2:
                owner, best2 = int(names[at]), d2
    older = names.size
    measure(leaders.recent, vector, 0, count - older, work)
    for k in range(count - older):
        if work[k] < best2:
            owner, best2 = older + k, work[k]
    return owner


@kernel
def _with_room(means: Float32, members: Int32, radius2: np.float32) -> Leaders:
    """Sort the centres and make room for more.

    Each sample is measured against all that are not sorted yet, and each sorting looks at all that
    are: as the square root, room keeps the two in balance.
    """
    count, size = means.shape
    room = 256 + 8 * int(np.sqrt(count))
    lookup = build(means.T.copy(), np.sqrt(radius2))
    recent = np.empty((size, room), np.float32)
    means = np.concatenate((means, np.empty((room, size), np.float32)))
    return Leaders(means, np.concatenate((members, np.empty(room, np.int32))), lookup, recent)


@kernel
def _neighbour(
    grid: Int32, j: int, i: int, owners: Int32, means: Float32, vector: Float32, radius2: np.float32
) -> int:
    """Return the owner of an earlier neighbour on the lattice that is near enough, else -1."""
    for n in range(4):
        v = j if n == 0 else j - 1
        u = i - 1 if n == 0 else i + n - 2
        if v < 0 or u < 0 or u >= grid.shape[1] or grid[v, u] < 0:
            continue
        k = owners[grid[v, u]]
        if gap2(means[k], vector) < radius2:
            return int(k)
    return -1
