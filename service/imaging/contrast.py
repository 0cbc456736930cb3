"""How far the range of an image goes beyond its percentiles.

Percentiles leave out what covers little: a few nuclei on a large field, all of them, and the range
that is left is noise. What networks see is judged alike in `training.models.normalise`.
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from service.arrays import Float32

_BLOCK_PX: Final = 4
"""Side of the blocks whose means are looked at, so that a hot pixel is no object."""

_ROWS: Final = 1024
"""Rows whose blocks are worked out at a time."""

_AROUND: Final = 9
"""Side of what is around a block, in blocks."""

_SAMPLE: Final = 2**16
"""Blocks that are compared, at most about twice as many."""

_NOISE: Final = 0.4
"""Blocks of noise differ by a quarter of the range from what is around them, objects by half."""

_FAR: Final = 0.75
"""What lies farther beyond a range of noise, in parts of it, is an object."""

_ROOM: Final = 1.0
"""The range may grow by so much on either side, in parts of it, whatever it holds: a third of the
256 levels is enough for outlines."""


def widened(values: npt.NDArray[Any], low: float, high: float) -> tuple[float, float]:
    """Widen a range, so that objects which it leaves out are not cut off at its ends.

    Parameters
    ----------
    values : (H, W) or (H, W, C) array of integers or floats
        The image.
    low, high : float
        Percentiles of it, of which high is the larger.

    Returns
    -------
    tuple of float
        ``(low, high)`` or what lies beyond, never beyond the means of 4 x 4 pixels. A range that
        holds objects grows by itself at most on either side, so that a glaring speck does not
        dim them; one of noise alone to twice the mean distance of the objects beyond.
    """
    blocks = _blocks(values, low, high)
    alone = _is_noise(blocks.clip(0, 1))
    below, above = (
        max(_ROOM, _twice_mean(beyond)) if alone else _ROOM for beyond in (-blocks, blocks - 1)
    )
    half = high / 2 - low / 2  # the whole of two float64 values may itself be beyond float64
    return (
        low - half * (2 * min(max(-float(blocks.min()), 0.0), below)),
        high + half * (2 * min(max(float(blocks.max()) - 1, 0.0), above)),
    )


def _blocks(values: npt.NDArray[Any], low: float, high: float) -> Float32:
    """Take the means of blocks, as parts of the range: 0 at its low end, 1 at its high one."""
    strips = []
    for start in range(0, len(values), _ROWS):
        strip = np.ascontiguousarray(values[start : start + _ROWS])
        if strip.dtype not in (np.uint16, np.int16, np.float32):  # which OpenCV takes as they are
            strip = strip.astype(np.float64)
        size = [max(side // _BLOCK_PX, 1) for side in (strip.shape[1], strip.shape[0])]
        means = cv2.resize(strip, size, interpolation=cv2.INTER_AREA).astype(np.float64)
        parts = (means / 2 - low / 2) / (high / 2 - low / 2)
        with np.errstate(over="ignore"):
            strips.append(parts.astype(np.float32))
    blocks: Float32 = np.concatenate(strips)
    np.nan_to_num(blocks, copy=False, nan=0.0, posinf=1.0, neginf=0.0)
    return blocks


def _is_noise(inside: Float32) -> bool:
    """Tell whether blocks, cut off at the range, differ no more from what is around than noise."""
    around = cv2.blur(inside, (_AROUND, _AROUND), borderType=cv2.BORDER_REFLECT)
    differ = (inside - around).reshape(-1)
    some = differ[:: max(1, differ.size // _SAMPLE)]
    # An object is in twice as many blocks, by its rim: twice the shares that percentiles leave out.
    low, high = np.percentile(some, [2, 99.6])
    return bool(high - low < _NOISE)


def _twice_mean(beyond: Float32) -> float:
    """Give twice the geometric mean of what is far, or 0.

    One glaring speck does not decide it; nor do the rims of objects, as they would the harmonic
    mean that networks take: what is cut off here, no network gets back.
    """
    far = beyond[beyond > _FAR]
    return 2 * float(np.exp(np.log(far).mean())) if far.size else 0.0
