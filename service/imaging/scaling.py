"""Bringing an image to the scale that a network knows: its objects as large as in training."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from service.arrays import UInt8
from service.domain import ImageLimits
from service.errors import BadParameter

MIN_SCALE: Final = 0.05
MAX_SCALE: Final = 20.0

Pixels = UInt8


def rescale(pixels: Pixels, scale: float, limits: ImageLimits) -> Pixels:
    """Enlarge or reduce an image along both axes.

    Parameters
    ----------
    pixels : (H, W, 3) uint8
        The image.
    scale : float
        Of the sides, from `MIN_SCALE` to `MAX_SCALE`.
    limits : ImageLimits
        What an image may be at most, also after this.

    Returns
    -------
    (h, w, 3) uint8
        Sides rounded, at least 1; `pixels` itself for a scale of 1. Reduced by the mean of what
        falls together, so that nothing flickers; enlarged by bicubic interpolation.

    Raises
    ------
    BadParameter
        If the scale is out of bounds, or the image would be larger than the limits.
    """
    if not MIN_SCALE <= scale <= MAX_SCALE:
        raise BadParameter(
            f"scale is {scale:g}, but must lie from {MIN_SCALE:g} to {MAX_SCALE:g}",
            parameter="scale",
        )
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    if (height, width) == pixels.shape[:2]:
        return pixels
    if height * width > limits.max_pixels or max(height, width) > limits.max_side_px:
        raise BadParameter(
            f"scale {scale:g} makes this image {width} x {height} pixels, more than the "
            f"{limits.max_pixels} pixels and the sides of {limits.max_side_px} that are taken",
            parameter="scale",
        )
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=how), np.uint8)
