"""The compiled half of `service.masks.rle`: runs of a label image in column-major order.

A run is its first pixel (column-major index) and its owner, the label; it ends where the next one
starts. Background runs are kept, so that two arrays say everything.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from service.compiled import kernel

COLUMNS = 64
"""Columns per block: a strip of them stays in cache while it is read twice."""

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


@kernel
def find(labels: Int32) -> tuple[Int32, Int32]:
    """Return start and owner of every run, in column-major order.

    Memory is read along rows: each strip is swept once to count the changes in each column, and
    once to write them where they belong.
    """
    height, width = labels.shape
    starts = np.empty(max(1024, (height + width) * 4), np.int32)
    owners = np.empty(starts.size, np.int32)
    total = 0
    changes = np.zeros(COLUMNS, np.int32)
    slots = np.zeros(COLUMNS, np.int64)
    if height == 0:
        return starts[:0], owners[:0]
    for left in range(0, width, COLUMNS):
        n = min(COLUMNS, width - left)
        for p in range(n):
            x = left + p
            changes[p] = x == 0 or labels[0, x] != labels[height - 1, x - 1]
        for y in range(1, height):
            here = labels[y, left : left + n]
            above = labels[y - 1, left : left + n]
            for p in range(n):
                changes[p] += here[p] != above[p]
        needed = total
        for p in range(n):
            slots[p] = needed
            needed += changes[p]
        if needed > starts.size:
            more_starts = np.empty(2 * needed, np.int32)
            more_owners = np.empty(2 * needed, np.int32)
            more_starts[:total] = starts[:total]
            more_owners[:total] = owners[:total]
            starts, owners = more_starts, more_owners
        for p in range(n):
            x = left + p
            if x == 0 or labels[0, x] != labels[height - 1, x - 1]:
                starts[slots[p]] = x * height
                owners[slots[p]] = labels[0, x]
                slots[p] += 1
        for y in range(1, height):
            here = labels[y, left : left + n]
            above = labels[y - 1, left : left + n]
            differ = 0
            for p in range(n):
                differ |= here[p] ^ above[p]
            if differ != 0:
                for p in range(n):
                    if here[p] != above[p]:
                        starts[slots[p]] = (left + p) * height + y
                        owners[slots[p]] = here[p]
                        slots[p] += 1
        total = needed
    return starts[:total], owners[:total]


@kernel
def measure(
    starts: Int32, owners: Int32, height: int, pixels: int, top: int
) -> tuple[Int64, Int64, npt.NDArray[np.float64]]:
    """Return area, box (x, y, width, height) and centroid (x, y) of labels 1..top."""
    areas = np.zeros(top, np.int64)
    boxes = np.zeros((top, 4), np.int64)
    sums = np.zeros((top, 2), np.int64)
    for r in range(starts.size):
        k = owners[r] - 1
        if k < 0:
            continue
        at = np.int64(starts[r])
        end = np.int64(starts[r + 1]) if r + 1 < starts.size else pixels
        while at < end:  # one column at a time
            x = at // height
            y = at - x * height
            n = min(end - at, height - y)
            box = boxes[k]
            if areas[k] == 0:
                box[0], box[1], box[3] = x, y, y + n
            else:
                box[1] = min(box[1], y)
                box[3] = max(box[3], y + n)
            box[2] = x + 1
            areas[k] += n
            sums[k, 0] += n * x
            sums[k, 1] += n * y + n * (n - 1) // 2
            at += n
    centroids = np.zeros((top, 2), np.float64)
    for k in range(top):
        boxes[k, 2] -= boxes[k, 0]
        boxes[k, 3] -= boxes[k, 1]
        if areas[k] > 0:
            centroids[k, 0] = sums[k, 0] / areas[k]
            centroids[k, 1] = sums[k, 1] / areas[k]
    return areas, boxes, centroids


@kernel
def encode(
    starts: Int32, owners: Int32, pixels: int, top: int
) -> tuple[npt.NDArray[np.uint8], Int64]:
    """Return the compressed strings of labels 1..top, one after the other, and their ends.

    `owners` is used up: it becomes the chain from each run to the next one of its owner.
    """
    first = np.full(top + 1, -1, np.int32)
    for r in range(starts.size - 1, -1, -1):
        k = owners[r]
        owners[r] = first[k]
        first[k] = r
    text = np.empty(max(1024, 4 * starts.size), np.uint8)
    ends = np.empty(top, np.int64)
    length = 0
    for k in range(1, top + 1):
        at, before_last, last, count = 0, 0, 0, 0
        r = first[k]
        while at < pixels or count == 0:
            # Two runs a turn: the gap of zeros, then the ones; the gap to the end comes alone.
            for ones in range(2):
                if ones == 0:
                    stop = int(starts[r]) if r >= 0 else pixels
                elif r < 0:
                    break
                else:
                    stop = int(starts[r + 1]) if r + 1 < starts.size else pixels
                    r = owners[r]
                if length + 8 > text.size:
                    more = np.empty(2 * text.size, np.uint8)
                    more[:length] = text[:length]
                    text = more
                value = stop - at
                length = _write(value - before_last if count > 2 else value, text, length)
                before_last, last = last, value
                count += 1
                at = stop
        ends[k - 1] = length
    return text[:length], ends


@kernel
def _write(value: int, text: npt.NDArray[np.uint8], at: int) -> int:
    """Write one signed number, five bits a character, and return where it ends."""
    more = True
    while more:
        bits = value & 0x1F
        value >>= 5
        more = value != -1 if bits & 0x10 else value != 0
        text[at] = bits + (0x20 if more else 0) + 48
        at += 1
    return at


@kernel
def parse(text: npt.NDArray[np.uint8], limit: int) -> tuple[Int64, bool]:
    """Read a compressed string.

    Returns the runs, and False when a character or number is malformed or a run does not lie
    between 0 and `limit`.
    """
    counts = np.empty(text.size, np.int64)
    total = 0
    value = np.int64(0)
    shift = 0
    for p in range(text.size):
        code = np.int64(text[p]) - 48
        if code < 0 or code > 63 or shift > 50:
            return counts[:0], False
        value |= (code & 0x1F) << shift
        shift += 5
        if code & 0x20:
            continue
        if code & 0x10:
            value -= np.int64(1) << shift
        if total > 2:
            value += counts[total - 2]
        if value < 0 or value > limit:
            return counts[:0], False
        counts[total] = value
        total += 1
        value = np.int64(0)
        shift = 0
    return counts[:total], shift == 0


@kernel
def paint(counts: Int64, flat: npt.NDArray[np.bool_]) -> None:
    """Set every other run, the second first."""
    at = 0
    for r in range(counts.size):
        if r % 2 == 1:
            flat[at : at + counts[r]] = True
        at += counts[r]
