"""The label image as a 16-bit PNG, read alike by every image library."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from service.arrays import UInt8

MAX_LABEL = 2**16 - 1


def label_png(labels: npt.NDArray[np.integer[Any]]) -> bytes:
    """Write labels as a grey 16-bit PNG: 0 background, pixel value = instance id.

    Parameters
    ----------
    labels : (H, W) integer
        0..65535.

    Raises
    ------
    ValueError
        If a label does not fit into 16 bits, or the image is empty.
    """
    if labels.size == 0:
        raise ValueError("an empty image cannot be written as PNG")
    if labels.min() < 0 or labels.max() > MAX_LABEL:
        raise ValueError(f"a 16-bit PNG holds labels up to {MAX_LABEL}, not {labels.max()}")
    return write_png(labels.astype(np.uint16))


def write_png(pixels: UInt8 | npt.NDArray[np.uint16]) -> bytes:
    """Write grey or RGB pixels as PNG, with the least effort in compression.

    Parameters
    ----------
    pixels : (H, W) or (H, W, 3) uint8 or uint16
        Colours in the order RGB.
    """
    ordered = pixels[:, :, ::-1] if pixels.ndim == 3 else pixels
    _, data = cv2.imencode(".png", np.ascontiguousarray(ordered), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return bytes(data)
