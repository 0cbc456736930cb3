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

MAX_DEFLATE_RATIO: Final = 1032
"""No deflate stream unpacks to more than this many times its length (258 bytes from 2 bits)."""

_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_GREY, _PALETTE = 0, 3
_TOLD: Final = frozenset({b"tRNS", b"eXIf", b"acTL"})


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
    chunks = _chunks(data)
    packed_bytes = sum(size for kind, _, size in chunks if kind == b"IDAT")
    if packed_bytes * MAX_DEFLATE_RATIO < height * (width * _CHANNELS[colour] * depth // 8):
        raise BrokenImage("the PNG data is truncated: too little for the size that it claims")
    bodies = {kind: data[at : at + size] for kind, at, size in chunks if kind in _TOLD}
    grey_key = bodies.get(b"tRNS", b"") if colour == _GREY else b""
    animation = bodies.get(b"acTL", b"")
    return PngInfo(
        width,
        height,
        bits=8 if colour == _PALETTE else depth,
        channels=_CHANNELS[colour],
        may_be_transparent=colour in (4, 6) or (colour != _GREY and b"tRNS" in bodies),
        transparent_grey=int.from_bytes(grey_key, "big") if len(grey_key) == 2 else None,
        frames=max(1, int.from_bytes(animation[:4], "big")),
        exif=bodies.get(b"eXIf", b""),
    )


def _chunks(data: bytes) -> list[tuple[bytes, int, int]]:
    """List kind, start and size of all chunks.

    Raises
    ------
    BrokenImage
        If one goes on beyond the file (OpenCV would set aside the two gigabytes that its length may
        claim), the last one is missing, or there are more than `MAX_CHUNKS`.
    """
    found: list[tuple[bytes, int, int]] = []
    at = len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        if at + 12 > len(data):
            raise BrokenImage("the PNG data is truncated: its last chunk is missing")
        size, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + size > len(data):
            raise BrokenImage("the PNG data is truncated: a chunk ends beyond the file")
        if kind == b"IEND":
            return found
        found.append((kind, at + 8, size))
        at += 12 + size
    raise BrokenImage(f"the PNG file has more than {MAX_CHUNKS} chunks")
