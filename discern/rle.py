"""COCO run lengths to masks, with nothing but NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

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
    runs = _runs(size, counts)
    values = np.arange(runs.size) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)


def draw_labels(
    size: Sequence[int], masks: Iterable[tuple[int, Mapping[str, Any]]]
) -> npt.NDArray[np.int32]:
    """Draw masks into one label image; where two overlap, the later one is seen.

    Parameters
    ----------
    size : (height, width)
        Of the image.
    masks : iterable of (int, mapping)
        Each label with its mask: ``size`` and ``counts``, as for `decode`.

    Returns
    -------
    (height, width) int32
        0 where there is no mask.

    Raises
    ------
    ValueError
        If a mask is malformed, or of another size than the image.

    Notes
    -----
    Only the runs are written: hundreds of masks of a large image cost hardly more than one.

    Examples
    --------
    >>> draw_labels((2, 2), [(7, {"size": [2, 2], "counts": "112"})])
    array([[0, 0],
           [7, 0]], dtype=int32)
    """
    height, width = size
    flat = np.zeros(height * width, np.int32)  # column by column, as the runs go
    for label, mask in masks:
        if tuple(mask["size"]) != (height, width):
            raise ValueError(f"a mask has the size {mask['size']}, its image {[height, width]}")
        ends = np.cumsum(_runs(size, mask["counts"])).tolist()
        for start, end in zip(ends[::2], ends[1::2], strict=False):  # the last run may be of zeros
            flat[start:end] = label
    return np.ascontiguousarray(flat.reshape(width, height).T)


def _runs(size: Sequence[int], counts: str | Sequence[int]) -> npt.NDArray[np.int64]:
    """Return the runs of a mask; they must add up to its size."""
    height, width = size
    runs = parse(counts) if isinstance(counts, str) else np.array(counts, np.int64)
    if runs.size and int(runs.min()) < 0:
        raise ValueError("the runs hold a negative one")
    if int(runs.sum()) != height * width:
        raise ValueError(f"the runs add up to {int(runs.sum())} pixels, not {height} x {width}")
    return runs


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
