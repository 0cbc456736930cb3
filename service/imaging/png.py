"""The chunks of a PNG file.

References
----------
Portable Network Graphics (PNG) Specification (Third Edition), W3C, sections 5 and 11.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from service.errors import BrokenImage

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

SPARE_CHUNKS: Final = 1024
"""Chunks a file may have, and one more for each KiB; encoders write pixels by 8 KiB and more."""

MAX_DEFLATE_RATIO: Final = 1032
"""No deflate stream unpacks to more than this many times its length (258 bytes from 2 bits)."""

_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_GREY, _PALETTE = 0, 3
_PIXELS: Final = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT"})
_END: Final = b"\0\0\0\0IEND\xaeB`\x82"
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
    least_bytes : int
        No file that holds all its pixels is smaller.
    """

    width: int
    height: int
    bits: int
    channels: int
    may_be_transparent: bool
    transparent_grey: int | None
    frames: int
    exif: bytes
    least_bytes: int


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
    bodies = {kind: data[at : at + size] for kind, at, size in chunks(data) if kind in _TOLD}
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
        least_bytes=height * (width * _CHANNELS[colour] * depth // 8) // MAX_DEFLATE_RATIO,
    )


def pixels_only(data: bytes) -> bytes:
    """Leave out the chunks that do not bear on the pixels of the first frame.

    Texts and colour profiles are packed: libpng would unpack a MiB from each KiB, only to throw it
    away.

    Parameters
    ----------
    data : bytes
        A file that `read` accepts.

    Returns
    -------
    bytes
        The file without those chunks; `data` itself if it has none.
    """
    kept = [(at - 8, size + 12) for kind, at, size in chunks(data) if kind in _PIXELS]
    if sum(size for _, size in kept) + len(SIGNATURE) + len(_END) >= len(data):
        return data
    view = memoryview(data)
    return b"".join([SIGNATURE, *(view[at : at + size] for at, size in kept), _END])


def chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Walk over kind, start and size of all chunks but the last.

    Raises
    ------
    BrokenImage
        If one goes on beyond the file (OpenCV would set aside the two gigabytes that its length may
        claim), the last one is missing, or there are more than `SPARE_CHUNKS` allows.
    """
    at = len(SIGNATURE)
    for _ in range(SPARE_CHUNKS + len(data) // 1024):
        if at + 12 > len(data):
            raise BrokenImage("the PNG data is truncated: its last chunk is missing")
        size, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + size > len(data):
            raise BrokenImage("the PNG data is truncated: a chunk ends beyond the file")
        if kind == b"IEND":
            return
        yield kind, at + 8, size
        at += 12 + size
    raise BrokenImage("the PNG file has too many chunks for its length")
