"""From what a program has at hand to the bytes that are sent."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Source = str | Path | bytes | npt.NDArray[Any]
"""A file's path, the bytes of a file, or an array of pixels."""


def bytes_of(image: Source) -> bytes:
    """Return an image file's bytes.

    Parameters
    ----------
    image : path, bytes or (H, W), (H, W, 3) array
        Arrays are uint8, or uint16 when grey, and are sent as PNG.

    Raises
    ------
    ValueError
        If an array has another shape or type.
    OSError
        If the file cannot be read.
    """
    if isinstance(image, bytes):
        return image
    if isinstance(image, np.ndarray):
        return png_of(image)
    return Path(image).read_bytes()


def png_of(pixels: npt.NDArray[Any]) -> bytes:
    """Write pixels as PNG.

    Parameters
    ----------
    pixels : (H, W) uint8 or uint16, or (H, W, 3) uint8
        Not empty.

    Raises
    ------
    ValueError
        If they are anything else.
    """
    colour = {2: 0, 3: 2}.get(pixels.ndim)
    depth = {"uint8": 8, "uint16": 16}.get(pixels.dtype.name)
    if colour is None or depth is None or pixels.size == 0 or pixels.shape[2:] not in ((), (3,)):
        raise ValueError(
            f"pixels are (H, W) or (H, W, 3) of uint8 or uint16, not {pixels.shape} {pixels.dtype}"
        )
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder(">"))
    lines = rows.reshape(height, -1).view(np.uint8)
    unfiltered = np.zeros((height, 1 + lines.shape[1]), np.uint8)
    unfiltered[:, 1:] = lines
    header = struct.pack(">2I5B", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(unfiltered.tobytes(), 1)
    chunks = [_chunk(b"IHDR", header), _chunk(b"IDAT", data), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
