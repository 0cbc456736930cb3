"""Spatial embeddings: pixels point at the centre of their instance, seeds say how far it reaches.

Neven et al. 2019 (arXiv:1906.11109).

What the network gives: ``embedding`` (2, h, w) is the offset (down, right) in units of `unit_px`
pixels, as it is to be added (a tanh, if any, is in the graph); ``sigma`` (1 or 2, h, w) is the
log-bandwidth, with ``s = exp(10 * sigma)`` the factor on squared distance in those units;
``seediness`` (C, h, w) are the logits of the seed map of each class.

Axes: H W image, N pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from service.compiled import kernel
from service.postprocess.decoded import Decoded, Float32, Int32, check, finish

Int64 = npt.NDArray[np.int64]

LN2 = np.float32(np.log(2.0))
"""A pixel belongs to a seed when ``exp(-s d^2) > 0.5``, that is ``s d^2 < ln 2``."""

CELL_PX = 8.0
"""Side of the cells in which pixels are looked up by where they point."""

SIGMA_GAIN = 10.0


def decode_spatial(
    offsets: npt.NDArray[np.floating[Any]],
    foreground: npt.NDArray[np.bool_],
    sigma: npt.NDArray[np.floating[Any]],
    seediness: npt.NDArray[np.floating[Any]],
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
    quality = np.concatenate(
        (np.zeros(1, np.float32), 1.0 / (1.0 + np.exp(-seeds[used]))), dtype=np.float32
    )
    return finish(labels, quality[labels], used.size, min_pixels)


@kernel
def grow(points: Float32, reach: Float32, order: Int64, min_pixels: int) -> tuple[Int32, Int64]:
    """Return 1 + the instance of each pixel, 0 for none, and the seed of each instance.

    `points` (2, N) is where pixels point, `reach` (2, N) the half-axes of their balls, `order` the
    seeds to try.
    """
    total = points.shape[1]
    owners = np.zeros(total, np.int32)
    used = np.empty(order.size, np.int64)
    if total == 0:
        return owners, used[:0]
    # Cells are numbered over the box of all points, which wild offsets may stretch: at most as
    # many cells as pixels, then larger ones.
    low_y, low_x = points[0].min(), points[1].min()
    tall, wide = points[0].max() - low_y, points[1].max() - low_x
    cell = np.float32(CELL_PX)
    while (tall / cell + 1.0) * (wide / cell + 1.0) > total + 64.0:
        cell *= np.float32(2.0)
    rows, columns = int(tall / cell) + 1, int(wide / cell) + 1
    starts = np.zeros(rows * columns + 1, np.int64)
    place = np.empty(total, np.int64)
    for i in range(total):
        row = min(int((points[0, i] - low_y) / cell), rows - 1)
        column = min(int((points[1, i] - low_x) / cell), columns - 1)
        place[i] = row * columns + column
        starts[place[i] + 1] += 1
    for c in range(rows * columns):
        starts[c + 1] += starts[c]
    listed = np.empty(total, np.int64)
    filled = starts.copy()
    for i in range(total):
        listed[filled[place[i]]] = i
        filled[place[i]] += 1
    ball = np.empty(total, np.int64)
    count = 0
    for seed in order:
        if owners[seed] != 0:
            continue
        y, x = points[0, seed], points[1, seed]
        ry, rx = reach[0, seed], reach[1, seed]
        if not (ry > 0.0 and rx > 0.0):
            continue
        top = int(min(max((y - ry - low_y) / cell, 0.0), rows - 1.0))
        bottom = int(min(max((y + ry - low_y) / cell, 0.0), rows - 1.0))
        left = int(min(max((x - rx - low_x) / cell, 0.0), columns - 1.0))
        right = int(min(max((x + rx - low_x) / cell, 0.0), columns - 1.0))
        free, taken = 0, 0
        for row in range(top, bottom + 1):
            for at in range(starts[row * columns + left], starts[row * columns + right + 1]):
                i = listed[at]
                dy, dx = (points[0, i] - y) / ry, (points[1, i] - x) / rx
                if dy * dy + dx * dx < 1.0:
                    if owners[i] == 0:
                        ball[free] = i
                        free += 1
                    else:
                        taken += 1
        if free < min_pixels or free <= taken:
            continue
        used[count] = seed
        count += 1
        for b in range(free):
            owners[ball[b]] = count
    return owners, used[:count]
