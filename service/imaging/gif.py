"""The blocks of a GIF file.

References
----------
Graphics Interchange Format, version 89a, CompuServe 1990, sections 18-26.
"""

from __future__ import annotations

import struct
from typing import Final

from service.errors import BrokenImage

MAX_STEPS: Final = 16_384
"""Blocks walked while counting frames, some 4 MB of a common file; the rest is not counted."""

_IMAGE, _EXTENSION = 0x2C, 0x21


def read(data: bytes) -> tuple[int, int, int]:
    """Read the size of the first picture and count the frames.

    Parameters
    ----------
    data : bytes
        The file; begins with its signature.

    Returns
    -------
    width, height, frames : int
        The size covers the screen and the first picture, which may be larger than the screen.
        Frames are those found within `MAX_STEPS` blocks.

    Raises
    ------
    BrokenImage
        If there is no picture.
    struct.error, IndexError
        If the file ends inside its first picture's header.
    """
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + _table_size(flags)
    frames = 0
    steps = 0
    while steps < MAX_STEPS and at + 10 < len(data):
        kind = data[at]
        if kind == _IMAGE:
            left, top, across, down, flags = struct.unpack_from("<HHHHB", data, at + 1)
            frames += 1
            if frames == 1:
                width, height = max(width, left + across), max(height, top + down)
            at += 11 + _table_size(flags)
        elif kind == _EXTENSION:
            at += 2
        else:
            break
        at, taken = _skip_blocks(data, at, MAX_STEPS - steps)
        steps += taken
    if not frames:
        raise BrokenImage("the GIF file has no picture")
    return width, height, frames


def _table_size(flags: int) -> int:
    return 3 * 2 ** ((flags & 0x07) + 1) if flags & 0x80 else 0


def _skip_blocks(data: bytes, at: int, most: int) -> tuple[int, int]:
    """Return the place after a row of sub-blocks, and how many there were."""
    for taken in range(1, most + 1):
        size = data[at] if at < len(data) else 0
        at += 1 + size
        if size == 0:
            return at, taken
    return at, most
