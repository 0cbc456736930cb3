"""Pictures to look at: instances over their image, and an embedding as colours.

Axes: E embedding, H W image.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from service.arrays import Floats, Int32, UInt8
from service.compiled import kernel
from service.masks.label_png import write_png

TINT = 0.45
"""Share of an instance's colour inside it."""

GOLDEN = 0.6180339887498949
"""Turning the hue by this share of the circle keeps any run of neighbours far apart."""

SAMPLE = 4096
"""Pixels from which the principal components are taken, about."""

Image = UInt8


def colours(count: int) -> Image:
    """Return a colour for each label 0..count, (count + 1, 3) uint8; background is black.

    The colour of a label never depends on how many there are.
    """
    k = np.arange(1, count + 1)
    hue = (k * GOLDEN % 1.0) * 360.0
    # Three levels of value and two of saturation tell hues apart that come round again.
    hsv = np.stack([hue, 1.0 - 0.35 * (k // 3 % 2), 1.0 - 0.2 * (k % 3)], axis=1, dtype=np.float32)
    table = np.zeros((count + 1, 3), dtype=np.uint8)
    if count:
        rgb = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]
        table[1:] = np.rint(rgb * 255.0)
    return table


def overlay(pixels: Image, labels: npt.NDArray[np.integer[Any]]) -> Image:
    """Tint each instance and draw its outline.

    Parameters
    ----------
    pixels : (H, W, 3) uint8
        RGB.
    labels : (H, W) integer
        0 background, instances 1..K.

    Returns
    -------
    (H, W, 3) uint8
        Background pixels are those of `pixels`.

    Raises
    ------
    ValueError
        If the sizes differ.
    """
    if pixels.shape != (*labels.shape, 3):
        raise ValueError(f"image {pixels.shape} and labels {labels.shape} differ in size")
    table = colours(int(labels.max(initial=0)))
    out = np.ascontiguousarray(pixels).copy()
    _tint(out, np.ascontiguousarray(labels, dtype=np.int32), table, np.float32(TINT))
    return out


def overlay_png(pixels: Image, labels: npt.NDArray[np.integer[Any]]) -> bytes:
    """Return `overlay` as a PNG file.

    Raises
    ------
    ValueError
        If the sizes differ.
    """
    return write_png(overlay(pixels, labels))


def embedding_picture(embedding: Floats) -> Image:
    """Show what the network saw: the first three principal components as red, green and blue.

    Parameters
    ----------
    embedding : (E, H, W) float16 or float32
        Vectors that are not finite are shown black.

    Returns
    -------
    (H, W, 3) uint8
        Each component is stretched from its 1st to its 99th percentile; missing ones (E < 3) are
        grey. Deterministic, signs included.
    """
    size, height, width = embedding.shape
    step = max(1, int(np.sqrt(height * width / SAMPLE)))
    sample = embedding[:, ::step, ::step].reshape(size, -1).T.astype(np.float64)
    sample = sample[np.isfinite(sample).all(axis=1)]
    out = np.full((height, width, 3), 128, dtype=np.uint8)
    if sample.shape[0] == 0:
        return np.zeros_like(out)
    mean = sample.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov(sample.T, bias=True).reshape(size, size))
    axes = axes[:, ::-1][:, :3]
    axes *= np.where(np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], 0) < 0, -1.0, 1.0)
    low, high = np.percentile((sample - mean) @ axes, [1.0, 99.0], axis=0)
    scale = 255.0 / np.maximum(high - low, 1e-6)
    finite = np.ones((height, width), dtype=np.bool_)
    for c in range(axes.shape[1]):
        plane = np.full((height, width), -mean @ axes[:, c] - low[c], dtype=np.float32)
        for e in range(size):
            with np.errstate(invalid="ignore", over="ignore"):
                plane += embedding[e] * np.float32(axes[e, c])
        finite &= np.isfinite(plane)
        shown = np.where(finite, plane * np.float32(scale[c]), np.float32(0.0))
        out[:, :, c] = np.clip(shown, 0.0, 255.0)
    out[~finite] = 0
    return out


def embedding_png(embedding: Floats) -> bytes:
    """Return `embedding_picture` as a PNG file."""
    return write_png(embedding_picture(embedding))


@kernel
def _tint(out: Image, labels: Int32, table: Image, share: np.float32) -> None:
    """Blend colours in, at full strength where a 4-neighbour bears another label."""
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            if label <= 0:
                continue
            edge = (
                (y > 0 and labels[y - 1, x] != label)
                or (x > 0 and labels[y, x - 1] != label)
                or (y + 1 < height and labels[y + 1, x] != label)
                or (x + 1 < width and labels[y, x + 1] != label)
            )
            for c in range(3):
                if edge:
                    out[y, x, c] = table[label, c]
                else:
                    mixed = out[y, x, c] * (np.float32(1.0) - share) + table[label, c] * share
                    out[y, x, c] = np.uint8(mixed + np.float32(0.5))
