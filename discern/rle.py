"""COCO run lengths to masks, with nothing but NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def decode(size: Sequence[int], counts: str | Sequence[int]) -> npt.NDArray[np.bool_]:
    """Draw a mask.

    Parameters
    ----------
    size : (height, width)
        Of the mask.
    counts : str or sequence of int
        Compressed text, or runs of zeros and ones in turn, column by column.

    Returns
    -------
    (height, width) bool

    Raises
    ------
    ValueError
        If the runs are malformed or do not add up to the size.

    Examples
    --------
    >>> decode((2, 2), "112")
    array([[False, False],
           [ True, False]])
    """
    height, width = size
    runs = parse(counts) if isinstance(counts, str) else np.array(counts, np.int64)
    if runs.size and int(runs.min()) < 0:
        raise ValueError("the runs hold a negative one")
    if int(runs.sum()) != height * width:
        raise ValueError(f"the runs add up to {int(runs.sum())} pixels, not {height} x {width}")
    values = np.arange(runs.size) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)


def parse(text: str) -> npt.NDArray[np.int64]:
    """Read compressed counts.

    Five bits a character from ``0`` on, the lowest first; from the fourth run on, the difference to
    the run two before (cocodataset/cocoapi, ``common/maskApi.c``).

    Raises
    ------
    ValueError
        If a character or a number is malformed.
    """
    codes = np.frombuffer(text.encode("ascii", "replace"), np.uint8).astype(np.int64) - 48
    if codes.size == 0:
        return codes
    last = codes & 32 == 0
    if codes.min() < 0 or codes.max() > 63 or not last[-1]:
        raise ValueError("the counts hold a malformed character, or end within a number")
    ends = np.flatnonzero(last)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > 10:
        raise ValueError("the counts hold a number that is too long")
    places = 5 * (np.arange(codes.size) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((codes & 31) << places, starts)
    numbers -= np.where(codes[ends] & 16, np.int64(1) << (5 * lengths), 0)
    # The differences of every other run add up along the row; the first two pairs stand alone.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
