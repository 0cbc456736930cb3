"""The header of a BMP file.

References
----------
Windows GDI, BITMAPINFOHEADER and BITMAPV5HEADER, Microsoft.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from service.errors import BrokenImage, UnsupportedFormat

_PLAIN, _BY_MASKS = 0, 3
"""Ways to pack pixels."""

_OLDEST, _OLD, _WITH_ALPHA = 12, 40, 56
"""Lengths of headers: OS/2's, Windows', and from which on the masks of all four channels count."""

_MASKS_OF_32_BITS: Final = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)
_MASKS_OF_16_BITS: Final = (
    struct.pack("<III", 0xF800, 0x7E0, 0x1F),
    struct.pack("<III", 0x7C00, 0x3E0, 0x1F),
)


@dataclass(frozen=True, slots=True)
class BmpInfo:
    """What the header says; `bits` are those of a pixel."""

    width: int
    height: int
    bits: int
    may_be_transparent: bool


def read(data: bytes) -> BmpInfo:
    """Read the header.

    Parameters
    ----------
    data : bytes
        The file; begins with its signature.

    Raises
    ------
    BrokenImage
        If the header has an unknown length.
    UnsupportedFormat
        If pixels are packed in a way that OpenCV does not read, or not faithfully.
    struct.error
        If the file ends inside the header.
    """
    (size,) = struct.unpack_from("<I", data, 14)
    if size == _OLDEST:
        width, height, _planes, bits = struct.unpack_from("<HHHH", data, 18)
        return BmpInfo(width, height, bits, may_be_transparent=False)
    if size < _OLD:
        raise BrokenImage("the BMP header has an unknown length")
    width, height, _planes, bits, packing = struct.unpack_from("<iiHHI", data, 18)
    # OpenCV reads rows askew whose run lengths go on beyond the width, as ImageMagick writes them.
    if packing not in (_PLAIN, _BY_MASKS):
        raise UnsupportedFormat("BMP with run lengths or other compression; plain BMP can be read")
    if packing == _BY_MASKS:
        _check_masks(size, bits, data[54:66])
    alpha = packing == _BY_MASKS and size >= _WITH_ALPHA and bits == 32 and any(data[66:70])
    # A negative height says that rows are stored from the top.
    return BmpInfo(width, abs(height), bits, may_be_transparent=alpha)


def _check_masks(size: int, bits: int, masks: bytes) -> None:
    """Refuse channels that OpenCV would look for elsewhere."""
    if bits == 32 and size < _WITH_ALPHA and masks != _MASKS_OF_32_BITS:
        raise UnsupportedFormat("BMP with channels in another order than blue, green, red")
    if bits == 16 and (size >= _WITH_ALPHA or masks not in _MASKS_OF_16_BITS):
        raise UnsupportedFormat("BMP of 16 bits with other channels than five or six bits each")
