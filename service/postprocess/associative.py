"""Associative embedding: instances are peaks in the histogram of tags.

Newell, Huang, Deng 2017 (arXiv:1611.05424); the instance decoder of a tag map.

Axes: E embedding, H W image, P peaks.
"""

from __future__ import annotations

import numpy as np

from service.arrays import Bool, Float32, Float64, Floats, Int32
from service.compiled import kernel
from service.postprocess.clustering import decode_discriminative
from service.postprocess.decoded import Decoded, check, finish
from service.postprocess.planes import Planes, as_planes, load

BINS = 4
"""Bins of the histogram per separation."""

MAX_BINS = 2**20
"""Tags that lie farther from zero than half so many bins count as background."""


def decode_associative(
    tags: Floats,
    foreground: Bool,
    *,
    bandwidth: float = 0.5,
    min_pixels: int = 1,
) -> Decoded:
    """Group foreground pixels by their tags.

    Parameters
    ----------
    tags : (E, H, W) float16 or float32
        One tag a pixel; with E > 1, mean shift finds the groups instead of a histogram.
    foreground : (H, W) bool
        Pixels to group.
    bandwidth : float
        Separation of instances in units of tags. A bin is a quarter of it, a peak is the largest
        smoothed bin within half of it, and no pixel joins a peak that is farther away than it.
    min_pixels : int
        Votes that a peak must hold, and pixels of the smallest instance.

    Returns
    -------
    Decoded
        Confidence is 1 throughout: all that this method knows of quality is the foreground.

    Raises
    ------
    ValueError
        If the shapes disagree, or the bandwidth is not a positive finite number.
    """
    if tags.shape[0] != 1:
        found = decode_discriminative(tags, foreground, bandwidth=bandwidth, min_pixels=min_pixels)
        return Decoded(found.labels, np.ones_like(found.confidence))
    check(tags, foreground, bandwidth)
    planes = as_planes(tags)
    mask = np.ascontiguousarray(foreground, dtype=np.bool_)
    peaks = _peaks(*_histogram(planes, mask, np.float32(bandwidth / BINS)), min_pixels)
    labels = _assign(planes, mask, peaks, np.float32(bandwidth))
    return finish(labels, np.ones(peaks.size), min_pixels)


def _peaks(votes: Float64, sums: Float64, min_pixels: int) -> Float32:
    """Return the tags of the peaks, ascending: the mean tag of the bins within reach of each."""
    reach = BINS // 2
    smooth = np.convolve(votes, np.ones(3), mode="same")
    around = np.lib.stride_tricks.sliding_window_view(np.pad(smooth, reach), 2 * reach + 1)
    held = np.convolve(votes, np.ones(2 * reach + 1), mode="same")
    # On a plateau the first bin is the peak.
    is_peak = (smooth > around[:, :reach].max(axis=1)) & (
        smooth >= around[:, reach + 1 :].max(axis=1)
    )
    is_peak &= held >= max(min_pixels, 1)
    summed = np.convolve(sums, np.ones(2 * reach + 1), mode="same")
    peaks: Float64 = summed[is_peak] / held[is_peak]
    return peaks.astype(np.float32)


@kernel
def _histogram(planes: Planes, mask: Bool, width: np.float32) -> tuple[Float64, Float64]:
    """Return votes and summed tags of each bin, with empty bins at both ends."""
    height, columns = mask.shape
    row = np.empty((1, max(columns, 1)), np.float32)
    limit = np.float32(MAX_BINS // 2) * width
    low, high = np.float32(np.inf), np.float32(-np.inf)
    for y in range(height):
        load(planes, y, 0, columns, row)
        for x in range(columns):
            tag = row[0, x]
            if mask[y, x] and abs(tag) < limit:
                low, high = min(low, tag), max(high, tag)
    if high < low:
        low = high = np.float32(0.0)
    bins = int((high - low) / width) + 8
    votes = np.zeros(bins, np.float64)
    sums = np.zeros(bins, np.float64)
    for y in range(height):
        load(planes, y, 0, columns, row)
        for x in range(columns):
            tag = row[0, x]
            if mask[y, x] and abs(tag) < limit:
                b = int((tag - low) / width) + 3
                votes[b] += 1.0
                sums[b] += tag
    return votes, sums


@kernel
def _assign(
    planes: Planes,
    mask: Bool,
    peaks: Float32,
    reach: np.float32,
) -> Int32:
    """Return 1 + the peak nearest to each pixel, the lower on a tie, or 0 beyond reach."""
    height, columns = mask.shape
    labels = np.zeros((height, columns), np.int32)
    row = np.empty((1, max(columns, 1)), np.float32)
    for y in range(height):
        load(planes, y, 0, columns, row)
        for x in range(columns):
            tag = row[0, x]
            if peaks.size == 0 or not mask[y, x] or not abs(tag) < np.inf:
                continue
            k = np.searchsorted(peaks, tag)
            if k == peaks.size or (k > 0 and tag - peaks[k - 1] <= peaks[k] - tag):
                k -= 1
            if abs(tag - peaks[k]) <= reach:
                labels[y, x] = k + 1
    return labels
