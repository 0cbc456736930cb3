"""The compiled half of `service.masks.rle`: runs of a label image in column-major order.

A run is its first pixel (column-major index) and its owner, the label; it ends where the next one
starts, the last one of a block where the block does. Background runs are kept, so that two arrays
say everything.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from service.arrays import Bool, Int32, Int64, UInt8
from service.compiled import kernel
from service.masks.words import WORD, changes, lowest

COLUMNS = WORD
"""Columns per strip: it stays in cache while it is read twice."""

OPEN, END, DONE, LAST, BEFORE_LAST, COUNT, CURSOR = range(7)
"""What `write` remembers of a label: where its run began and ended so far, up to where its string
is written, the two values before, how many there are, and where the next character goes."""

STATE = 7

LONGEST = 7
"""Characters of a number at most: 33 bits with its sign, five in each."""

Text = UInt8


class Block(NamedTuple):
    """The runs of some columns next to each other; a block begins with a run of its own.

    Parameters
    ----------
    starts, owners : (n,) int32
        First pixel and label of each run.
    end : int
        The pixel after the last run.
    """

    starts: Int32
    owners: Int32
    end: int


def room(height: int, width: int) -> int:
    """Return how many runs a block may hold: a strip at worst, an eighth of the labels' bytes."""
    return max(COLUMNS * height, height * width // 16)


@kernel
def find(labels: Int32, left: int, most: int) -> Block:
    """Return the runs of the columns from `left` on, as many whole strips as hold `most` runs.

    Memory is read along rows: each strip is swept once to count the changes in each column, and
    once to write them where they belong.
    """
    height, width = labels.shape
    flat = labels.ravel()
    starts = np.empty(most, np.int32)
    owners = np.empty(most, np.int32)
    total = 0
    begin = left
    counts = np.zeros(COLUMNS, np.int32)
    slots = np.zeros(COLUMNS, np.int64)
    while left < width:
        n = min(COLUMNS, width - left)
        for p in range(n):
            x = left + p
            counts[p] = x == begin or labels[0, x] != labels[height - 1, x - 1]
        for y in range(1, height):
            here = np.uint64(y * width + left)  # unsigned, or the loop is not vectorised
            above = here - np.uint64(width)
            for p in range(np.uint64(n)):
                counts[p] += flat[here + p] != flat[above + p]
        needed = total
        for p in range(n):
            slots[p] = needed
            needed += counts[p]
        if needed > most:
            break
        for p in range(n):
            x = left + p
            if x == begin or labels[0, x] != labels[height - 1, x - 1]:
                starts[slots[p]] = x * height
                owners[slots[p]] = labels[0, x]
                slots[p] += 1
        for y in range(1, height):
            here = y * width + left
            word = changes(flat, here, flat, here - width, n)
            while word != 0:
                p = lowest(word)
                word &= word - np.uint64(1)
                starts[slots[p]] = (left + p) * height + y
                owners[slots[p]] = flat[here + p]
                slots[p] += 1
        total = needed
        left += n
    return Block(starts[:total], owners[:total], left * height)


@kernel
def measure(block: Block, height: int, areas: Int64, boxes: Int64, sums: Int64) -> None:
    """Add the runs of a block to what is known of each label, 0 the background.

    `areas` counts pixels, `boxes` holds the least and the greatest x and y (left, top, and one
    beyond), `sums` adds up the x and the y of all pixels.
    """
    starts, owners = block.starts, block.owners
    for r in range(starts.size):
        k = owners[r]
        if k <= 0:
            continue
        at = np.int64(starts[r])
        end = np.int64(starts[r + 1]) if r + 1 < starts.size else np.int64(block.end)
        while at < end:  # one column at a time
            x = at // height
            y = at - x * height
            n = min(end - at, height - y)
            if areas[k] == 0:
                boxes[k, 0], boxes[k, 1], boxes[k, 3] = x, y, y + n
            else:
                boxes[k, 1] = min(boxes[k, 1], y)
                boxes[k, 3] = max(boxes[k, 3], y + n)
            boxes[k, 2] = x + 1
            areas[k] += n
            sums[k, 0] += n * x
            sums[k, 1] += n * y + n * (n - 1) // 2
            at += n


@kernel
def longest(block: Block, count: int) -> Int64:
    """Return for each label below `count` how many characters its string has at most."""
    room = np.full(count, LONGEST, np.int64)  # the background after the last run
    owners = block.owners
    for r in range(owners.size):
        room[owners[r]] += 2 * LONGEST
    return room


@kernel
def write(block: Block, state: Int64, text: Text) -> None:
    """Go on with the string of each label, character by character.

    With an empty `text` nothing is written: the cursors count the characters that there will be.
    """
    starts, owners = block.starts, block.owners
    for r in range(starts.size):
        k = owners[r]
        if k <= 0:
            continue
        start = np.int64(starts[r])
        end = np.int64(starts[r + 1]) if r + 1 < starts.size else np.int64(block.end)
        # Unless it goes on from the block before.
        if start != state[k, END] or state[k, OPEN] == state[k, END]:
            _close(state, k, text)
            state[k, OPEN] = start
        state[k, END] = end


@kernel
def finish(state: Int64, pixels: int, text: Text) -> None:
    """Write what is left of each string: its last run, and the background after it."""
    for k in range(1, state.shape[0]):
        _close(state, k, text)
        if state[k, DONE] < pixels:
            _put(state, k, pixels - state[k, DONE], text)


@kernel
def _close(state: Int64, k: int, text: Text) -> None:
    """Write the run of a label and the gap before it, if there is one."""
    if state[k, OPEN] < state[k, END]:
        _put(state, k, state[k, OPEN] - state[k, DONE], text)
        _put(state, k, state[k, END] - state[k, OPEN], text)
        state[k, DONE] = state[k, END]


@kernel
def _put(state: Int64, k: int, value: int, text: Text) -> None:
    """Write one value: from the fourth on, its difference to the one two before."""
    gap = value - state[k, BEFORE_LAST] if state[k, COUNT] > 2 else value
    state[k, CURSOR] = _write(gap, text, state[k, CURSOR])
    state[k, BEFORE_LAST], state[k, LAST] = state[k, LAST], value
    state[k, COUNT] += 1


@kernel
def _write(value: int, text: Text, at: int) -> int:
    """Write one signed number, five bits a character, and return where it ends."""
    more = True
    while more:
        bits = value & 0x1F
        value >>= 5
        more = value != -1 if bits & 0x10 else value != 0
        if text.size > 0:
            text[at] = bits + (0x20 if more else 0) + 48
        at += 1
    return at


@kernel
def parse(text: Text, limit: int) -> tuple[Int64, bool]:
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
def paint(counts: Int64, flat: Bool) -> None:
    """Set every other run, the second first."""
    at = 0
    for r in range(counts.size):
        if r % 2 == 1:
            flat[at : at + counts[r]] = True
        at += counts[r]
