"""What a label image holds, run by run: pixels and first pixel of each label, and new names."""

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
