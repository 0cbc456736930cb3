"""How sure the foreground of an instance is."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from service.compiled import kernel
from service.postprocess.planes import Planes, as_planes, load

Int32 = npt.NDArray[np.int32]
Float64 = npt.NDArray[np.float64]


def foreground_confidence(
    labels: Int32, logits: npt.NDArray[np.floating[Any]], count: int
) -> Float64:
    """Return the mean foreground probability of labels 1..count.

    Parameters
    ----------
    labels : (H, W) int32
        0 background, else 1..K.
    logits : (H, W) float16 or float32
        Before the sigmoid.
    count : int
        K.
    """
    return _mean_probability(labels, as_planes(logits[np.newaxis]), count)


@kernel
def _mean_probability(labels: Int32, planes: Planes, count: int) -> Float64:
    height, width = labels.shape
    sums = np.zeros(count, np.float64)
    pixels = np.zeros(count, np.int64)
    row = np.empty((1, max(width, 1)), np.float32)
    for y in range(height):
        load(planes, y, 0, width, row)
        for x in range(width):
            k = labels[y, x] - 1
            if k >= 0:
                sums[k] += np.float32(1.0) / (np.float32(1.0) + np.exp(-row[0, x]))
                pixels[k] += 1
    for k in range(count):
        sums[k] /= max(pixels[k], 1)
    return sums
