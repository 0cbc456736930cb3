"""Turning a picture the way it was meant to be seen, and putting it on a ground."""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from service.arrays import UInt8

GROUND: Final = 255
"""Transparent pixels show white, as on the page that a viewer of the web would see them on."""

_BLOCK: Final = 2**18


def orient(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Carry out an EXIF orientation.

    Parameters
    ----------
    pixels : (H, W, ...) array
        As stored.
    orientation : int
        1..8 as in EXIF tag 0x0112; 5 to 8 exchange height and width.

    Returns
    -------
    array
        Upright and C-contiguous; `pixels` itself for 1.
    """
    if orientation >= 5:
        pixels = cv2.transpose(pixels)
    match orientation:
        case 2 | 6:
            return np.asarray(cv2.flip(pixels, 1))
        case 3 | 7:
            return np.asarray(cv2.flip(pixels, -1))
        case 4 | 8:
            return np.asarray(cv2.flip(pixels, 0))
    return pixels


def flatten(pixels: UInt8, alpha: UInt8) -> UInt8:
    """Lay a picture on a white ground.

    Parameters
    ----------
    pixels : (H, W, 3) uint8
        Colours, not multiplied by alpha.
    alpha : (H, W) uint8
        0 transparent, 255 opaque.

    Returns
    -------
    (H, W, 3) uint8
        Exactly rounded; `pixels` itself where all of it is opaque.

    Notes
    -----
    Dropping alpha instead would bring out colours under transparent pixels, which nobody has seen
    and which are often noise.
    """
    if alpha.min() == 255:
        return pixels
    flat = np.empty_like(pixels)
    rows = max(1, _BLOCK // pixels.shape[1])
    for top in range(0, pixels.shape[0], rows):
        part = slice(top, top + rows)
        weight = alpha[part, :, None].astype(np.uint16)
        # At most 255 * 255 + 127: fits 16 bits.
        mixed = pixels[part] * weight + (255 - weight) * GROUND + 127
        flat[part] = mixed // 255
    return flat
