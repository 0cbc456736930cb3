"""The chunks of a PNG file.

References
----------
Portable Network Graphics (PNG) Specification (Third Edition), W3C, sections 5 and 11.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from service.errors import BrokenImage

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

MAX_CHUNKS: Final = 65_536
"""Encoders write chunks of 8 KiB and more; a file of crumbs only serves to waste time."""

_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_GREY, _PALETTE = 0, 3


@dataclass(frozen=True, slots=True)
class PngInfo:
    """What the chunks say.

    Parameters
    ----------
    width, height : int
        In pixels.
    bits : int
        Per channel; 8 for a palette, whose colours have as many.
    channels : int
        As stored; 1 for a palette.
    may_be_transparent : bool
        Whether there is an alpha channel, or colours or palette entries that are transparent.
    transparent_grey : int, optional
        The value that is transparent in a grey image without alpha channel.
    frames : int
        More than 1 for an animation.
    exif : bytes
        The EXIF block, empty if there is none.
    """

    width: int
    height: int
    bits: int
    channels: int
    may_be_transparent: bool
    transparent_grey: int | None
    frames: int
    exif: bytes


def read(data: bytes) -> PngInfo:
    """Read the header and walk the other chunks without unpacking any of them.

    Parameters
    ----------
    data : bytes
        The file; begins with `SIGNATURE`.

    Raises
    ------
    BrokenImage
        If the first chunk is no header, its values are not of the standard, or chunks are many.
    struct.error
        If the file ends inside the header.
    """
    length, kind, width, height, depth, colour = struct.unpack_from(">I4sIIBB", data, 8)
    if kind != b"IHDR" or length != 13:
        raise BrokenImage("the PNG file does not begin with its header")
    if depth not in _DEPTHS.get(colour, ()):
        raise BrokenImage("the PNG header names an unknown kind of pixel")
    transparent = colour in (4, 6)
    grey: int | None = None
    frames, exif = 1, b""
    for kind, start, size in _chunks(data):
        if kind == b"tRNS":
            transparent = colour != _GREY
            if colour == _GREY and size == 2:
                grey = int(struct.unpack_from(">H", data, start)[0])
        elif kind == b"eXIf":
            exif = data[start : start + size]
        elif kind == b"acTL" and size >= 4:
            frames = max(1, int(struct.unpack_from(">I", data, start)[0]))
    bits = 8 if colour == _PALETTE else depth
    return PngInfo(
        width,
        height,
        bits=bits,
        channels=_CHANNELS[colour],
        may_be_transparent=transparent,
        transparent_grey=grey,
        frames=frames,
        exif=exif,
    )


def _chunks(data: bytes) -> list[tuple[bytes, int, int]]:
    """List kind, start and size of the chunks other than pixels; a torn tail is left to decoding.

    Raises
    ------
    BrokenImage
        If there are more than `MAX_CHUNKS`.
    """
    found: list[tuple[bytes, int, int]] = []
    at = len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        if at + 12 > len(data):
            return found
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IEND":
            return found
        if kind != b"IDAT":
            found.append((kind, at + 8, size))
        at += 12 + size
    raise BrokenImage(f"the PNG file has more than {MAX_CHUNKS} chunks")
