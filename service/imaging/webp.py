"""The chunks of a WebP file.

References
----------
RFC 9649, WebP Image Format, sections 2 and 3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from service.errors import BrokenImage

MAX_CHUNKS: Final = 16_384
"""An animation has one per frame, a still picture at most six."""

_ALPHA, _ANIMATION = 0x10, 0x02


@dataclass(frozen=True, slots=True)
class WebpInfo:
    """What the chunks say; the size is that of the canvas."""

    width: int
    height: int
    may_be_transparent: bool
    animated: bool
    frames: int
    exif: bytes


def read(data: bytes) -> WebpInfo:
    """Read the first chunk, and for the extended form walk the others.

    Parameters
    ----------
    data : bytes
        The file; begins with ``RIFF....WEBP``.

    Raises
    ------
    BrokenImage
        If the first chunk is none of the three forms, or chunks are many.
    struct.error, IndexError
        If the file ends inside the header.
    """
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return WebpInfo(
            width & 0x3FFF,
            height & 0x3FFF,
            may_be_transparent=False,
            animated=False,
            frames=1,
            exif=b"",
        )
    if kind == b"VP8L":
        (packed,) = struct.unpack_from("<I", data, 21)
        return WebpInfo(
            (packed & 0x3FFF) + 1,
            (packed >> 14 & 0x3FFF) + 1,
            may_be_transparent=bool(packed >> 28 & 1),
            animated=False,
            frames=1,
            exif=b"",
        )
    if kind == b"VP8X":
        return _read_extended(data)
    raise BrokenImage("the WebP file begins with an unknown chunk")


def _read_extended(data: bytes) -> WebpInfo:
    flags = data[20]
    width = int.from_bytes(data[24:27], "little") + 1
    height = int.from_bytes(data[27:30], "little") + 1
    frames, exif = 0, b""
    for kind, start, size in _chunks(data):
        if kind == b"ANMF":
            frames += 1
        elif kind == b"EXIF":
            # Some writers keep the prefix that EXIF has in JPEG.
            exif = data[start : start + size].removeprefix(b"Exif\0\0")
    return WebpInfo(
        width,
        height,
        may_be_transparent=bool(flags & _ALPHA),
        animated=bool(flags & _ANIMATION),
        frames=max(1, frames),
        exif=exif,
    )


def _chunks(data: bytes) -> list[tuple[bytes, int, int]]:
    found: list[tuple[bytes, int, int]] = []
    at = 30
    for _ in range(MAX_CHUNKS):
        if at + 8 > len(data):
            return found
        kind, size = struct.unpack_from("<4sI", data, at)
        found.append((kind, at + 8, size))
        at += 8 + size + size % 2
    raise BrokenImage(f"the WebP file has more than {MAX_CHUNKS} chunks")
