"""How likely an instance is right: how tight its cluster is, times how sure its foreground is."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from service.compiled import kernel

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]


def score(
    labels: Int32,
    distances2: Float32,
    logits: npt.NDArray[np.floating[Any]],
    count: int,
    bandwidth: float,
) -> npt.NDArray[np.float64]:
    """Return the mean of ``exp(-(d / b)^2)`` times the mean foreground probability of each instance.

    Parameters
    ----------
    labels : (H, W) int32
        0 background, else 1..K.
    distances2 : (H, W) float32
        Squared distance of each labelled pixel to its centre.
    logits : (H, W) float16 or float32
        Foreground logits of the instances' class.
    count : int
        K.
    bandwidth : float
        b.

    Returns
    -------
    (K,) float64
        In [0, 1].
    """
    closeness, probability = _sums(
        labels,
        distances2,
        np.ascontiguousarray(logits, dtype=np.float32),
        count,
        np.float32(-1.0 / bandwidth**2),
    )
    pixels = np.maximum(closeness[:, 1], 1.0)
    means: npt.NDArray[np.float64] = (closeness[:, 0] / pixels) * (probability / pixels)
    return np.clip(means, 0.0, 1.0)


@kernel
def _sums(
    labels: Int32, distances2: Float32, logits: Float32, count: int, factor: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return per label the summed closeness beside the pixels, and the summed probability."""
    closeness = np.zeros((count, 2), np.float64)
    probability = np.zeros(count, np.float64)
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            k = labels[y, x] - 1
            if k < 0:
                continue
            closeness[k, 0] += np.exp(distances2[y, x] * factor)
            closeness[k, 1] += 1.0
            probability[k] += np.float32(1.0) / (np.float32(1.0) + np.exp(-logits[y, x]))
    return closeness, probability
