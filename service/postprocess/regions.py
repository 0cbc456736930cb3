"""Tidying a label image: count, split what is not connected, drop what is small, renumber."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from service.arrays import Int32, Int64
from service.compiled import kernel
from service.masks.words import ends, fill


@kernel
def areas(labels: Int32, top: int) -> Int32:
    """Return the pixels of each label 0..top; labels below 0 are not counted."""
    counts = np.zeros(top + 1, np.int32)
    height, width = labels.shape
    flat, stops = labels.ravel(), np.empty(max(width, 1), np.int32)
    for y in range(height if width else 0):
        x = 0
        for r in range(ends(flat, y * width, width, stops)):
            if labels[y, x] >= 0:
                counts[labels[y, x]] += stops[r] - x
            x = int(stops[r])
    return counts


@kernel
def tidy(labels: Int32, counts: Int32, min_pixels: int) -> int:
    """Drop labels of fewer than `min_pixels`, renumber the rest by their first pixel in place."""
    names = np.zeros(counts.size, np.int32)
    top = np.int32(0)
    height, width = labels.shape
    flat, stops = labels.ravel(), np.empty(max(width, 1), np.int32)
    for y in range(height if width else 0):
        x = 0
        for r in range(ends(flat, y * width, width, stops)):
            label, begin, x = labels[y, x], x, int(stops[r])
            name = np.int32(0)
            if label > 0 and counts[label] >= min_pixels:
                if names[label] == 0:
                    top += 1
                    names[label] = top
                name = names[label]
            if name != label:
                fill(labels, y, begin, x, int(name))
    return int(top)


@kernel
def split(labels: Int32) -> int:
    """Give each 8-connected part of equal labels a number of its own, in place; return how many.

    Numbers follow the first pixel of each part in raster order.
    """
    height, width = labels.shape
    parts = np.zeros((height, width), np.int32)
    parent = np.zeros(1024, np.int32)
    count = 0
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            if label <= 0:
                continue
            part = 0
            for n in range(4):
                v = y if n == 0 else y - 1
                u = x - 1 if n == 0 else x + n - 2
                if v < 0 or u < 0 or u >= width or labels[v, u] != label:
                    continue
                other = _root(parent, parts[v, u])
                if part == 0:
                    part = other
                elif part != other:
                    low, high = min(part, other), max(part, other)
                    parent[high] = low
                    part = low
            if part == 0:
                count += 1
                if count == parent.size:
                    parent = np.concatenate((parent, np.zeros(parent.size, np.int32)))
                parent[count] = count
                part = count
            parts[y, x] = part
    names = np.zeros(count + 1, np.int32)
    top = 0
    for part in range(1, count + 1):
        root = _root(parent, part)
        if root == part:
            top += 1
            names[part] = top
        else:
            names[part] = names[root]
    for y in range(height):
        for x in range(width):
            labels[y, x] = names[parts[y, x]]
    return top


@kernel
def _root(parent: Int32, part: int) -> int:
    """Return the representative of a part, halving the path on the way."""
    while parent[part] != part:
        parent[part] = parent[parent[part]]
        part = parent[part]
    return part


def names_in(order: npt.NDArray[np.intp], count: int) -> Int32:
    """Return the new names of labels 0..count: 1 + `order` become 1, 2, .., the rest become 0."""
    names = np.zeros(count + 1, np.int32)
    names[order + 1] = np.arange(1, order.size + 1, dtype=np.int32)
    return names


@kernel
def rename(labels: Int32, names: Int32) -> None:
    """Replace each label by its entry in `names`, in place."""
    height, width = labels.shape
    flat, stops = labels.ravel(), np.empty(max(width, 1), np.int32)
    for y in range(height if width else 0):
        x = 0
        for r in range(ends(flat, y * width, width, stops)):
            label, begin, x = labels[y, x], x, int(stops[r])
            if names[label] != label:
                fill(labels, y, begin, x, names[label])


@kernel
def first_pixels(labels: Int32, count: int) -> Int64:
    """Return the raster index of the first pixel of labels 1..count, -1 where there is none."""
    first = np.full(count + 1, -1, np.int64)
    height, width = labels.shape
    flat, stops = labels.ravel(), np.empty(max(width, 1), np.int32)
    left = count
    for y in range(height if width else 0):
        x = 0
        for r in range(ends(flat, y * width, width, stops)):
            if labels[y, x] > 0 and first[labels[y, x]] < 0:
                first[labels[y, x]] = y * width + x
                left -= 1
            x = int(stops[r])
        if left == 0:
            break
    return first[1:]
