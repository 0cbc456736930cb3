"""From more than 8 bits to 8: a linear map from about two percentiles of the image.

The percentiles are 1 and 99.8, as is common for fluorescence images (StarDist and CSBDeep use the
same): a hot pixel or a dead one does not decide the contrast. Objects that they leave out widen the
range (`service.imaging.contrast`). Colour channels share one map, so that hues stay.
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from service.arrays import Float64, UInt8
from service.imaging.contrast import widened

LOW_PERCENT: Final = 1.0
HIGH_PERCENT: Final = 99.8

BLOCK: Final = 2**20
"""Values worked on at a time, so that intermediate arrays stay in the cache."""

SAMPLE: Final = 2**22
"""Values that percentiles are taken from where counting all of them would be costly."""


def scale_to_8_bits(
    values: npt.NDArray[Any],
) -> tuple[UInt8, tuple[float, float]]:
    """Map values linearly so that the low end of the range becomes 0 and the high one 255.

    Parameters
    ----------
    values : (H, W) or (H, W, C) array of integers or floats
        Not empty.

    Returns
    -------
    scaled : array of uint8
        Of the same shape; NaN and minus infinity become 0, plus infinity 255.
    scaled_range : tuple of float
        The values that became 0 and 255: the percentiles, or what `widened` makes of them. Where
        both percentiles are the same number, the least and greatest finite value stand in, so that
        a few bright pixels on an even ground are kept; a constant image becomes 0 throughout, and
        one without any finite value has range (0, 0).

    Notes
    -----
    Percentiles of 16-bit integers are exact (the smallest value with that share at or below it);
    those of other types come from at most about `SAMPLE` evenly spaced values.
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    scaled = np.empty(flat.shape, np.uint8)
    if flat.dtype in (np.uint16, np.int16):
        low, high = _scale_16_bits(values, flat, scaled)
    else:
        # Casting a signalling NaN counts as an invalid operation; what becomes of NaN is settled.
        with np.errstate(invalid="ignore"):
            low, high = _scale_wide(values, flat, scaled)
    return scaled.reshape(values.shape), (low, high)


def _scale_16_bits(
    values: npt.NDArray[Any], flat: npt.NDArray[Any], scaled: UInt8
) -> tuple[float, float]:
    """Scale by a table of all 65,536 values."""
    # Signed values become unsigned in the same order when the sign bit is turned over.
    shift = -(2**15) if flat.dtype == np.int16 else 0
    codes = flat.view(np.uint16) ^ np.uint16(0x8000) if shift else flat
    counts = np.zeros(2**16, np.int64)
    for start in range(0, codes.size, BLOCK):
        block = codes[start : start + BLOCK].reshape(1, -1)
        # calcHist counts in float32: exact, as a block holds fewer than 2**24 values.
        histogram = cv2.calcHist([block], [0], None, [2**16], [0, 2**16])
        counts += histogram.ravel().astype(np.int64)
    cumulative = np.cumsum(counts)
    share = np.ceil(np.array([LOW_PERCENT, HIGH_PERCENT]) / 100 * codes.size)
    low, high = (float(code) + shift for code in np.searchsorted(cumulative, share))
    if low == high:
        present = np.flatnonzero(counts)
        low, high = float(present[0]) + shift, float(present[-1]) + shift
    else:
        low, high = widened(values, low, high)
    table = _ramp(np.arange(2**16, dtype=np.float64) + shift, low, high)
    for start in range(0, codes.size, BLOCK):
        scaled[start : start + BLOCK] = table[codes[start : start + BLOCK]]
    return low, high


def _scale_wide(
    values: npt.NDArray[Any], flat: npt.NDArray[Any], scaled: UInt8
) -> tuple[float, float]:
    """Scale 32- and 64-bit values block by block."""
    sample = flat[:: max(1, flat.size // SAMPLE)].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    low = high = 0.0
    if sample.size:
        low, high = np.percentile(sample, [LOW_PERCENT, HIGH_PERCENT], method="inverted_cdf")
    if low != high:
        low, high = widened(values, float(low), float(high))
    elif sample.size:
        low, high = sample.min(), sample.max()
    for start in range(0, flat.size, BLOCK):
        block = flat[start : start + BLOCK].astype(np.float64)
        scaled[start : start + BLOCK] = _ramp(block, float(low), float(high))
    return float(low), float(high)


def _ramp(values: Float64, low: float, high: float) -> UInt8:
    """Map `low`..`high` to 0..255, rounded, NaN to 0."""
    if low == high:
        return np.where(values == np.inf, 255, 0).astype(np.uint8)
    # Halved first: the span of two float64 values may itself be beyond float64.
    span = high / 2 - low / 2
    ramp = (np.clip(values, low, high) / 2 - low / 2) / span * 255
    return np.nan_to_num(np.rint(ramp), nan=0.0).astype(np.uint8)
