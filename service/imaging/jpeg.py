"""The segments of a JPEG file.

References
----------
ITU-T T.81 annex B (segments); CIPA DC-007 (several pictures in one file).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from service.errors import BrokenImage, UnsupportedFormat
from service.imaging import tiff
from service.imaging.scans import MAX_SEGMENTS, check_scans

MAX_PIXELS_PER_BYTE: Final = 2048
"""A block of 64 pixels takes one bit at the very least, 512 pixels per byte; four times that is
room for odd subsampling."""

_EOI, _SOS, _APP1, _APP2 = 0xD9, 0xDA, 0xE1, 0xE2
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_MPF_IMAGE_COUNT: Final = 0xB001


@dataclass(frozen=True, slots=True)
class JpegInfo:
    """What stands before the first scan; no file that holds all pixels has below `least_bytes`."""

    width: int
    height: int
    channels: int
    frames: int
    exif: bytes
    least_bytes: int


def read(data: bytes) -> JpegInfo:
    """Walk the segments up to the first scan.

    Parameters
    ----------
    data : bytes
        The file; begins with the start-of-image marker.

    Raises
    ------
    BrokenImage
        If no frame header comes before the scan, or segments or scans are beyond their bounds.
    UnsupportedFormat
        If samples have other than 8 bits, or channels are neither grey, RGB nor CMYK.
    struct.error, IndexError
        If the file ends before the first scan.
    """
    frame, exif, frames = None, b"", 1
    for marker, start, end in _segments(data):
        if marker in _FRAMES and frame is None:
            frame = struct.unpack_from(">BHHB", data, start)
        elif marker == _APP1 and not exif and data.startswith(b"Exif\0\0", start):
            exif = data[start + 6 : end]
        elif marker == _APP2 and data.startswith(b"MPF\0", start):
            frames = max(1, tiff.first_value(data[start + 4 : end], _MPF_IMAGE_COUNT) or 1)
    if frame is None:
        raise BrokenImage("the JPEG file has no frame header before its first scan")
    check_scans(data, 2, len(data))
    bits, height, width, channels = frame
    if bits != 8:
        raise UnsupportedFormat(f"JPEG with {bits} bits per sample; 8 can be read")
    if channels not in (1, 3, 4):
        raise UnsupportedFormat(f"JPEG with {channels} channels; 1, 3 and 4 can be read")
    return JpegInfo(
        width,
        height,
        channels=channels,
        frames=frames,
        exif=exif,
        least_bytes=width * height // MAX_PIXELS_PER_BYTE,
    )


def _segments(data: bytes) -> list[tuple[int, int, int]]:
    """List marker, start and end of the payloads up to the first scan."""
    found: list[tuple[int, int, int]] = []
    at = 2
    for _ in range(MAX_SEGMENTS):
        if data[at] != 0xFF:
            # Bytes between segments are against the standard, but decoders skip them.
            at = data.find(b"\xff", at)
            if at < 0:
                break
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if marker in _STANDALONE or marker == 0x00:
            continue
        if marker in (_SOS, _EOI):
            return found
        (size,) = struct.unpack_from(">H", data, at)
        found.append((marker, at + 2, at + size))
        at += max(size, 2)
    raise BrokenImage("the JPEG file has no scan where one is due")
