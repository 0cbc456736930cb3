"""Embeddings that travel as bytes: a scale per dimension turns them into vectors again.

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
    embedding: npt.NDArray[Any], scale: Sequence[float]
) -> npt.NDArray[np.floating[Any]]:
    """Return pixel vectors.

    Parameters
    ----------
    embedding : (E, H, W) uint8
        Where the network quantises; any floating dtype where it does not.
    scale : sequence of float
        Of every dimension: what one step of a byte is, in embedding units. Empty: the embedding is
        returned as it is.

    Returns
    -------
    (E, H, W) float16
        ``scale * (byte - 128)``, rounded.

    Examples
    --------
    >>> dequantise(np.array([[[128, 130, 0]]], np.uint8), [0.5])
    array([[[  0.,   1., -64.]]], dtype=float16)
    """
    if not scale:
        return embedding
    values = np.arange(256, dtype=np.float32) - ZERO
    out = np.empty(embedding.shape, np.float16)
    for plane, step, place in zip(embedding, scale, out, strict=True):
        np.take((values * np.float32(step)).astype(np.float16), plane, out=place)
    return out
