"""What a file says about itself: format, size, depth, orientation, frames, before any pixel exists.

Every reader here looks only at the bytes at hand: it allocates nothing that grows with the size a
header claims, and takes a bounded number of steps over whatever structure the file has.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from service.domain import ImageLimits
from service.errors import BrokenImage, TooLarge, UnsupportedFormat
from service.imaging import bmp, gif, jpeg, png, tiff, webp

Format = Literal["png", "jpeg", "webp", "tiff", "bmp", "gif"]


@dataclass(frozen=True, slots=True)
class Header:
    """What the header claims.

    Parameters
    ----------
    format : str
        Name of the file format.
    width, height : int
        Size as stored, before orientation, in pixels.
    bits : int
        Bits per channel.
    channels : int
        Channels as stored; 1 for a palette.
    orientation : int
        EXIF orientation 1..8; 1 where the file says nothing, or nonsense.
    page : int
        Which is read: 0, but of a page that was cut out of a stack.
    frames : int
        Frames or pages, counted to a bound.
    may_be_transparent : bool
        Whether decoded pixels can carry alpha.
    transparent_grey : int, optional
        The value that is transparent in a PNG without alpha channel.
    reader : {"opencv", "pillow"}
        Which library decodes this kind of file.
    inverted : bool
        TIFF's "white is zero" photometry.
    least_bytes : int
        No file that holds all its pixels is smaller.
    """

    format: Format
    width: int
    height: int
    bits: int = 8
    channels: int = 3
    orientation: int = 1
    page: int = 0
    frames: int = 1
    may_be_transparent: bool = False
    transparent_grey: int | None = None
    reader: Literal["opencv", "pillow"] = "opencv"
    inverted: bool = False
    least_bytes: int = 0


def read_header(data: bytes, limits: ImageLimits) -> Header:
    """Recognise a file and read its header.

    Parameters
    ----------
    data : bytes
        The whole file.
    limits : ImageLimits
        What it may be at most.

    Returns
    -------
    Header
        Its size lies within `limits`.

    Raises
    ------
    TooLarge
        If the file, a side, or the number of pixels is beyond its limit.
    UnsupportedFormat
        If no format on the allow-list begins like this, or it is a kind that cannot be decoded.
    BrokenImage
        If the header is cut short or contradicts itself.
    """
    check_bytes(data, limits)
    for recognise, read in _FORMATS:
        if recognise(data):
            try:
                header = read(data)
            except (struct.error, IndexError, OverflowError) as error:
                raise BrokenImage("the image is truncated: its header ends too soon") from error
            _check_size(header, limits)
            if len(data) < header.least_bytes:
                raise BrokenImage("the image is truncated: too little data for its size")
            return header
    raise UnsupportedFormat("the data is none of PNG, JPEG, WebP, TIFF, BMP and GIF")


def check_bytes(data: bytes, limits: ImageLimits) -> None:
    """Refuse a file with more bytes than are allowed.

    Raises
    ------
    TooLarge
        If it has more.
    """
    if len(data) > limits.max_bytes:
        raise TooLarge(
            f"the image has {len(data)} bytes, at most {limits.max_bytes} are allowed",
            limit=limits.max_bytes,
        )


def _check_size(header: Header, limits: ImageLimits) -> None:
    width, height = header.width, header.height
    if width < 1 or height < 1:
        raise BrokenImage(f"the image claims a size of {width} x {height} pixels")
    if max(width, height) > limits.max_side_px:
        raise TooLarge(
            f"the image is {width} x {height} pixels, a side may have at most {limits.max_side_px}",
            limit=limits.max_side_px,
        )
    if width * height > limits.max_pixels:
        raise TooLarge(
            f"the image is {width} x {height} pixels, at most {limits.max_pixels} are allowed",
            limit=limits.max_pixels,
        )
    unpacked, most = width * height * header.channels * header.bits // 8, 8 * limits.max_pixels
    if unpacked > most:
        raise TooLarge(
            f"the image unpacks to {unpacked} bytes, at most {most} are allowed: "
            "8 for every pixel that an image may have",
            limit=most,
        )


def _read_png(data: bytes) -> Header:
    info = png.read(data)
    return Header(
        "png",
        info.width,
        info.height,
        bits=info.bits,
        channels=info.channels,
        orientation=tiff.exif_orientation(info.exif),
        frames=info.frames,
        may_be_transparent=info.may_be_transparent,
        transparent_grey=info.transparent_grey,
        least_bytes=info.least_bytes,
    )


def _read_jpeg(data: bytes) -> Header:
    info = jpeg.read(data)
    return Header(
        "jpeg",
        info.width,
        info.height,
        channels=info.channels,
        orientation=tiff.exif_orientation(info.exif),
        frames=info.frames,
        # OpenCV turns CMYK to RGB without regard to Adobe's inversion; Pillow knows it.
        reader="pillow" if info.channels == 4 else "opencv",
        least_bytes=info.least_bytes,
    )


def _read_webp(data: bytes) -> Header:
    info = webp.read(data)
    return Header(
        "webp",
        info.width,
        info.height,
        orientation=tiff.exif_orientation(info.exif),
        frames=info.frames,
        may_be_transparent=info.may_be_transparent,
        reader="pillow" if info.animated else "opencv",
    )


def _read_gif(data: bytes) -> Header:
    width, height, frames = gif.read(data)
    return Header(
        "gif",
        width,
        height,
        channels=1,
        frames=frames,
        may_be_transparent=True,
        reader="pillow",
    )


def _read_bmp(data: bytes) -> Header:
    info = bmp.read(data)
    return Header(
        "bmp",
        info.width,
        info.height,
        bits=min(info.bits, 8),
        channels=3 if info.bits > 8 else 1,
        may_be_transparent=info.may_be_transparent,
    )


def _read_tiff(data: bytes) -> Header:
    page = tiff.read(data)
    deep = page.bits > 8
    return Header(
        "tiff",
        page.width,
        page.height,
        bits=page.bits,
        channels=page.channels,
        orientation=page.orientation,
        page=page.page,
        frames=page.frames,
        may_be_transparent=page.has_alpha,
        # Pillow knows every kind of 8-bit page, but cuts colour of more bits down to 8.
        reader="opencv" if deep else "pillow",
        inverted=deep and page.photometric == tiff.WHITE_IS_ZERO,
    )


_FORMATS: Final[tuple[tuple[Callable[[bytes], bool], Callable[[bytes], Header]], ...]] = (
    (lambda data: data.startswith(png.SIGNATURE), _read_png),
    (lambda data: data.startswith(b"\xff\xd8\xff"), _read_jpeg),
    (lambda data: data.startswith(b"RIFF") and data[8:12] == b"WEBP", _read_webp),
    (lambda data: data[:4] in tiff.SIGNATURES, _read_tiff),
    (lambda data: data.startswith((b"GIF87a", b"GIF89a")), _read_gif),
    (lambda data: data.startswith(b"BM"), _read_bmp),
)
