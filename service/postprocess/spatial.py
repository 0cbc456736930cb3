"""Spatial embeddings: pixels point at the centre of their instance, seeds say how far it reaches.

Neven et al. 2019 (arXiv:1906.11109).

What the network gives: ``embedding`` (2, h, w) is the offset (down, right) in units of `unit_px`
pixels, as it is to be added (a tanh, if any, is in the graph); ``sigma`` (1 or 2, h, w) is the
log-bandwidth, with ``s = exp(10 * sigma)`` the factor on squared distance in those units;
``seediness`` (C, h, w) are the logits of the seed map of each class.

Axes: H W image, N pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from service.arrays import Bool, Float32, Floats, Int32, Int64
from service.compiled import inlined, kernel
from service.postprocess.decoded import Decoded, check, finish

Ball = tuple[np.float32, np.float32, np.float32, np.float32]
"""Where its middle lies, down and right, and its half-axes."""
Box = tuple[int, int, int, int]
"""The first and the last row of cells that a ball meets, and the columns."""

LN2 = np.float32(np.log(2.0))
"""A pixel belongs to a seed when ``exp(-s d^2) > 0.5``, that is ``s d^2 < ln 2``."""

CELL_PX = (0.02, 8.0)
"""Least and largest side of the cells in which pixels are looked up by where they point."""

CELLS = 4
"""Cells in the middle half-axis of a ball, where there is room for so many."""

SIGMA_GAIN = 10.0


def decode_spatial(
    offsets: Floats,
    foreground: Bool,
    sigma: Floats,
    seediness: Floats,
    *,
    unit_px: float = 64.0,
    min_seed: float = 0.9,
    min_pixels: int = 1,
) -> Decoded:
    """Group foreground pixels by where they point.

    Parameters
    ----------
    offsets : (2, H, W) float16 or float32
        Down and right, in units of `unit_px`.
    foreground : (H, W) bool
        Pixels to group.
    sigma : (1 or 2, H, W) float16 or float32
        Log-bandwidth, one for both axes or one each.
    seediness : (H, W) float16 or float32
        Logits of the seed map.
    unit_px : float
        Pixels in one unit of offset.
    min_seed : float
        Probability below which no instance starts.
    min_pixels : int
        Smallest instance to keep.

    Returns
    -------
    Decoded
        Confidence is the probability of the instance's seed.

    Raises
    ------
    ValueError
        If the shapes disagree or `unit_px` is not a positive number.

    Notes
    -----
    The best free seed takes the free pixels of its ball; when half of the ball or more is taken
    already, or too few are free, it opens no instance and only its own pixel is used up. Pixels in
    no ball are background. Linear in the pixels as long as balls stay small.
    """
    check(offsets, foreground, unit_px)
    sizes = {plane.shape[-2:] for plane in (sigma, seediness)}
    if offsets.shape[0] != 2 or sigma.shape[0] not in (1, 2) or sizes != {foreground.shape}:
        raise ValueError(
            f"offsets {offsets.shape}, sigma {sigma.shape} and seediness {seediness.shape} "
            f"do not fit an image of {foreground.shape}"
        )
    ys, xs = np.nonzero(foreground)
    points = np.stack([ys, xs]).astype(np.float32) + offsets[:, ys, xs] * np.float32(unit_px)
    seeds = seediness[ys, xs].astype(np.float32)
    sound = np.isfinite(points).all(axis=0) & np.isfinite(seeds)
    ys, xs, points, seeds = ys[sound], xs[sound], points[:, sound], seeds[sound]
    # Half-axes of the balls in pixels: s d^2 < ln 2 with d in units.
    spread = np.exp(-0.5 * SIGMA_GAIN * sigma[:, ys, xs].astype(np.float32))
    reach = np.sqrt(LN2) * np.float32(unit_px) * spread
    reach = np.ascontiguousarray(np.broadcast_to(np.nan_to_num(reach), points.shape))
    candidates = np.flatnonzero(seeds > np.log(min_seed / (1.0 - min_seed)))
    order = candidates[np.argsort(-seeds[candidates], kind="stable")]
    owners, used = grow(np.ascontiguousarray(points), reach, order, max(min_pixels, 1))
    labels = np.zeros(foreground.shape, np.int32)
    labels[ys, xs] = owners
    return finish(labels, 1.0 / (1.0 + np.exp(-seeds[used])), min_pixels)


class Cells(NamedTuple):
    """Pixels, sorted by the cell of a grid that they point into.

    Parameters
    ----------
    low_y, low_x : float32
        Where the grid begins.
    side : float32
        Of a cell, in pixels.
    rows, columns : int
        Of the grid.
    starts : (rows * columns + 1,) int64
        Where the pixels of each cell begin in `listed`.
    listed : (N,) int64
        Pixels, cell by cell.
    places : (N,) int64
        The cell of each pixel.
    """

    low_y: np.float32
    low_x: np.float32
    side: np.float32
    rows: int
    columns: int
    starts: Int64
    listed: Int64
    places: Int64


@kernel
def grow(points: Float32, reach: Float32, order: Int64, min_pixels: int) -> tuple[Int32, Int64]:
    """Return 1 + the instance of each pixel, 0 for none, and the seed of each instance.

    `points` (2, N) is where pixels point, `reach` (2, N) the half-axes of their balls, `order` the
    seeds to try.
    """
    total = points.shape[1]
    owners = np.zeros(total, np.int32)
    used = np.empty(order.size, np.int64)
    if order.size == 0:
        return owners, used
    cells = _sorted(points, np.median(reach[:, order[:: 1 + order.size // 256]].copy()) / CELLS)
    free_in = np.diff(cells.starts)
    found = np.empty(total, np.int64)
    count = 0
    for seed in order:
        y, x, ry, rx = points[0, seed], points[1, seed], reach[0, seed], reach[1, seed]
        if owners[seed] != 0 or not (ry > 0.0 and rx > 0.0):
            continue
        top = _cell(y - ry, cells.low_y, cells.side, cells.rows)
        bottom = _cell(y + ry, cells.low_y, cells.side, cells.rows)
        left = _cell(x - rx, cells.low_x, cells.side, cells.columns)
        right = _cell(x + rx, cells.low_x, cells.side, cells.columns)
        ball, box = (y, x, ry, rx), (top, bottom, left, right)
        if not _worth(cells, free_in, ball, box, min_pixels):
            continue
        free, taken = _look(cells, points, owners, ball, box, found)
        if free < min_pixels or free <= taken:
            continue
        used[count] = seed
        count += 1
        for i in found[:free]:
            owners[i] = count
            free_in[cells.places[i]] -= 1
    return owners, used[:count]


@kernel
def _sorted(points: Float32, side: np.float32) -> Cells:
    """Sort pixels into cells of that side, within `CELL_PX`; larger where they would be many."""
    total = points.shape[1]
    low_y, tall = _extent(points[0])
    low_x, wide = _extent(points[1])
    side = np.float32(min(max(float(side), CELL_PX[0]), CELL_PX[1]))
    while (tall / side + 1.0) * (wide / side + 1.0) > total + 64.0:
        side *= np.float32(2.0)
    rows, columns = int(tall / side) + 1, int(wide / side) + 1
    starts = np.zeros(rows * columns + 1, np.int64)
    places = np.empty(total, np.int64)
    for i in range(total):
        row = _cell(points[0, i], low_y, side, rows)
        places[i] = row * columns + _cell(points[1, i], low_x, side, columns)
        starts[places[i] + 1] += 1
    for c in range(rows * columns):
        starts[c + 1] += starts[c]
    listed = np.empty(total, np.int64)
    filled = starts.copy()
    for i in range(total):
        listed[filled[places[i]]] = i
        filled[places[i]] += 1
    return Cells(low_y, low_x, side, rows, columns, starts, listed, places)


@kernel
def _extent(places: Float32) -> tuple[np.float32, np.float32]:
    """Return where the cells begin along one axis, and how far they go.

    A few wild offsets do not stretch the grid: what lies beyond is in the cells of its edge.
    """
    some = np.sort(places[:: 1 + places.size // 1024])
    beyond = some.size // 50
    return some[beyond], some[some.size - 1 - beyond] - some[beyond]


@inlined
def _cell(at: np.float32, low: np.float32, side: np.float32, count: int) -> int:
    """Return in which cell of one axis a place lies."""
    return int(min(max((at - low) / side, np.float32(0.0)), np.float32(count - 1)))


@kernel
def _worth(
    cells: Cells,
    free_in: Int64,
    ball: Ball,
    box: Box,
    min_pixels: int,
) -> bool:
    """Tell whether a ball may open an instance, by counts alone; no pixel is looked at.

    Where a large object points at one spot, most seeds find nearly everything around them taken.
    """
    y, x, ry, rx = ball
    top, bottom, left, right = box
    most_free, least_taken = 0, 0
    for row in range(top, bottom + 1):
        # A tenth of a cell is left for rounding; cells of the edge hold what lies beyond, too.
        dy = (abs((row + 0.5) * cells.side - (y - cells.low_y)) + 0.6 * cells.side) / ry
        for column in range(left, right + 1):
            c = row * cells.columns + column
            most_free += free_in[c]
            dx = (abs((column + 0.5) * cells.side - (x - cells.low_x)) + 0.6 * cells.side) / rx
            inner = 0 < row < cells.rows - 1 and 0 < column < cells.columns - 1
            if inner and dy * dy + dx * dx < 1.0:
                least_taken += cells.starts[c + 1] - cells.starts[c] - free_in[c]
    return most_free >= min_pixels and most_free > least_taken


@kernel
def _look(
    cells: Cells, points: Float32, owners: Int32, ball: Ball, box: Box, found: Int64
) -> tuple[int, int]:
    """Find the free pixels of a ball; return how many they are, and how many are taken."""
    y, x, ry, rx = ball
    top, bottom, left, right = box
    free, taken = 0, 0
    for row in range(top * cells.columns, (bottom + 1) * cells.columns, cells.columns):
        for at in range(cells.starts[row + left], cells.starts[row + right + 1]):
            i = cells.listed[at]
            dy, dx = (points[0, i] - y) / ry, (points[1, i] - x) / rx
            if dy * dy + dx * dx < 1.0:
                if owners[i] == 0:
                    found[free] = i
                    free += 1
                else:
                    taken += 1
    return free, taken
