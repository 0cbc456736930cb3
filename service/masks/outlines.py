"""The compiled half of `service.masks.polygon`: walking along the edges between labels.

A ring runs over pixel corners with its pixels to the right (the image's y axis points down), so
that outer rings go clockwise on screen and holes the other way.
"""

from __future__ import annotations

import numpy as np

from service.arrays import Int32
from service.compiled import kernel

RIGHT, DOWN, LEFT, UP = 0, 1, 2, 3


@kernel
def parts_of(labels: Int32) -> tuple[Int32, Int32]:
    """Return an image of 4-connected parts 1..P, and the label of each part."""
    height, width = labels.shape
    parts = np.zeros((height, width), np.int32)
    parent = np.zeros(1024, np.int32)
    count = 0
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            if label <= 0:
                continue
            left = parts[y, x - 1] if x > 0 and labels[y, x - 1] == label else 0
            above = parts[y - 1, x] if y > 0 and labels[y - 1, x] == label else 0
            if left == 0 and above == 0:
                count += 1
                if count == parent.size:
                    parent = np.concatenate((parent, np.zeros(parent.size, np.int32)))
                parent[count] = count
                parts[y, x] = count
                continue
            if left > 0 and above > 0:
                left, above = _root(parent, left), _root(parent, above)
                parent[max(left, above)] = min(left, above)
                parts[y, x] = min(left, above)
            else:
                parts[y, x] = left + above
    owners = np.zeros(count + 1, np.int32)
    for y in range(height):
        for x in range(width):
            if parts[y, x] > 0:
                parts[y, x] = _root(parent, parts[y, x])
                owners[parts[y, x]] = labels[y, x]
    return parts, owners


@kernel
def _root(parent: Int32, part: int) -> int:
    while parent[part] != part:
        parent[part] = parent[parent[part]]
        part = parent[part]
    return part


@kernel
def trace(parts: Int32) -> tuple[Int32, Int32, Int32]:
    """Return the corners (x, y) of all rings, where each ring ends, and the part it bounds.

    At a corner that touches two pixels of a part only diagonally, a ring stays on its pixel, and
    so may meet the same corner twice.
    """
    height, width = parts.shape
    corners = np.empty((1024, 2), np.int32)
    ends = np.empty(256, np.int32)
    owners = np.empty(256, np.int32)
    seen = np.zeros((height, width), np.bool_)
    rings, length = 0, 0
    for top in range(height):
        for left in range(width):
            part = parts[top, left]
            if part == 0 or seen[top, left] or (top > 0 and parts[top - 1, left] == part):
                continue
            y, x, way = top, left, RIGHT
            while True:
                if way == RIGHT:
                    if seen[y, x]:
                        break
                    seen[y, x] = True
                dy, dx = _step(way)
                ay, ax = y + dy, x + dx  # the pixel ahead
                sy, sx = _step((way + 3) % 4)
                by, bx = ay + sy, ax + sx  # and the one to its left
                if not (0 <= ay < height and 0 <= ax < width and parts[ay, ax] == part):
                    turn = 1
                elif 0 <= by < height and 0 <= bx < width and parts[by, bx] == part:
                    turn = 3
                    y, x = by, bx
                else:
                    y, x = ay, ax
                    continue
                if length == corners.shape[0]:
                    corners = np.concatenate((corners, corners))
                corners[length] = _corner(ay - dy, ax - dx, way)
                length += 1
                way = (way + turn) % 4
            if rings == ends.size:
                ends = np.concatenate((ends, ends))
                owners = np.concatenate((owners, owners))
            ends[rings], owners[rings] = length, part
            rings += 1
    return corners[:length], ends[:rings], owners[:rings]


@kernel
def _step(way: int) -> tuple[int, int]:
    """Return the (y, x) of one pixel ahead."""
    if way == RIGHT:
        return 0, 1
    if way == DOWN:
        return 1, 0
    if way == LEFT:
        return 0, -1
    return -1, 0


@kernel
def _corner(y: int, x: int, way: int) -> Int32:
    """Return the corner (x, y) of a pixel at which the walk along it ends."""
    corner = np.empty(2, np.int32)
    corner[0] = x + 1 if way in (RIGHT, DOWN) else x
    corner[1] = y + 1 if way in (DOWN, LEFT) else y
    return corner
