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

ZERO: Final = 128
"""The byte that stands for 0."""


def dequantise(
    embedding: npt.NDArray[Any],
    scale: Sequence[float],
    slope: Sequence[tuple[float, float]] = (),
) -> npt.NDArray[np.floating[Any]]:
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
    (E, H, W) float16
        ``scale * (byte - 128) + slope[0] * row + slope[1] * column``, rounded.

    Examples
    --------
    >>> dequantise(np.array([[[128, 130, 0]]], np.uint8), [0.5])
    array([[[  0.,   1., -64.]]], dtype=float16)
    """
    if not scale:
        return embedding
    values = np.arange(256, dtype=np.float32) - ZERO
    out = np.empty(embedding.shape, np.float16)
    if not slope:
        for plane, step, vectors in zip(embedding, scale, out, strict=True):
            np.take((values * np.float32(step)).astype(np.float16), plane, out=vectors)
        return out
    rows, columns = (np.arange(side, dtype=np.float32) for side in embedding.shape[1:])
    for plane, step, (down, across), vectors in zip(embedding, scale, slope, out, strict=True):
        wide = np.take(values * np.float32(step), plane)
        wide += (rows * np.float32(down))[:, None]
        wide += columns * np.float32(across)
        vectors[...] = wide
    return out
