"""Embeddings that travel as bytes: scales, and each pixel's own place, make vectors of them again.

A network whose vectors point at places in the image sends how far they are from the pixel itself:
bytes would cut off what lies beyond the images that the scales were taken from.

Axes: E embedding, H W image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from service.arrays import Floats

ZERO: Final = 128
"""The byte that stands for 0."""


def dequantise(
    embedding: npt.NDArray[Any],
    scale: Sequence[float],
    slope: Sequence[tuple[float, float]] = (),
) -> Floats:
    """Return pixel vectors.

    Parameters
    ----------
    embedding : (E, H, W) uint8
        Where the network quantises; any floating dtype where it does not.
    scale : sequence of float
        Of every dimension: what one step of a byte is, in embedding units. Empty: the embedding is
        returned as it is.
    slope : sequence of (float, float)
        Of every dimension: what a row and a column add to it. Empty: nothing.

    Returns
    -------
    (E, H, W) float32
        ``scale * (byte - 128) + slope[0] * row + slope[1] * column``.

    Examples
    --------
    >>> dequantise(np.array([[[128, 130, 0]]], np.uint8), [0.5])
    array([[[  0.,   1., -64.]]], dtype=float32)
    """
    if not scale:
        return embedding
    # Not in half precision: rounding to it would take longer than all the rest.
    out = np.empty(embedding.shape, np.float32)
    rows, columns = (np.arange(side, dtype=np.float32) for side in embedding.shape[1:])
    for e, (plane, step) in enumerate(zip(embedding, scale, strict=True)):
        down, across = slope[e] if slope else (0.0, 0.0)
        np.multiply(plane, np.float32(step), out=out[e])
        out[e] += (np.float32(down) * rows - np.float32(step * ZERO))[:, np.newaxis]
        if across:
            out[e] += np.float32(across) * columns
    return out
