"""Bytes to RGB pixels: limits first, orientation once, every foreign error translated here.

The header is read by our own code (`service.imaging.header`), so that nothing is allocated for a
picture that is not allowed. Then OpenCV decodes what it decodes faster than Pillow with the same
result (JPEG, PNG, WebP, BMP) or more fully (TIFF of more than 8 bits), Pillow the rest (CMYK JPEG,
GIF, other TIFF, animations); for the usual PNG files `service.imaging.scanlines` is faster still.
All of them let other threads run meanwhile.

Colour profiles are not applied: networks are trained on the numbers in the file.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import GifImagePlugin, Image, ImageFile, JpegImagePlugin, TiffImagePlugin, WebPImagePlugin

from service.arrays import UInt8
from service.domain import FIRST_PAGE, DecodedImage, ImageLimits, Plane
from service.errors import BrokenImage
from service.imaging import png, scanlines
from service.imaging.compose import compose
from service.imaging.header import Header, check_bytes, read_header
from service.imaging.stack import Stack

# OpenCV writes every damaged file to standard error; the caller is told, which is enough.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

# The plugins are called by name: Image.open would guess among all formats, and refuse or warn by a
# pixel limit of its own, global to the process.
_PLUGINS: Final[dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]]] = {
    "gif": GifImagePlugin.GifImageFile,
    "jpeg": JpegImagePlugin.JpegImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
}

# What the two libraries were seen to raise on damaged files.
_FOREIGN_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    Warning,
    Image.DecompressionBombError,
    cv2.error,
    struct.error,
    zlib.error,
)


def decode_image(data: bytes, limits: ImageLimits, plane: Plane = FIRST_PAGE) -> DecodedImage:
    """Decode one frame of an image file.

    Parameters
    ----------
    data : bytes
        A PNG, JPEG, WebP, TIFF, BMP or GIF file.
    limits : ImageLimits
        Checked against the header before any pixel is allocated.
    plane : Plane
        Which page of a TIFF file, and which channel; else the first frame, in colour.

    Returns
    -------
    DecodedImage
        RGB, 8 bits, upright. Grey becomes three equal channels; palettes are resolved;
        transparency shows a white ground; CMYK becomes RGB; more than 8 bits, signed and floating
        point values are scaled (`service.imaging.depth`).

    Raises
    ------
    TooLarge
        If the file has more bytes or pixels than `limits` allow.
    UnsupportedFormat
        If it is no format on the list, or a kind of one that cannot be read.
    BrokenImage
        If it is truncated or damaged. A file is never half decoded.
    BadParameter
        If it has no such page or channel.
    MemoryError
        If there is no room for its pixels; some libraries take that for damage, and do not say.
    """
    check_bytes(data, limits)
    if plane.page:
        data = Stack(data).page(plane.page)
    header = read_header(data, limits)
    return compose(_read(data, header), header, plane)


def _read(data: bytes, header: Header) -> npt.NDArray[Any]:
    """Return (H, W), (H, W, 3) or (H, W, 4) in RGB order, in the type of the file."""
    if header.format == "png":
        data = png.pixels_only(data)
        pixels = scanlines.read_pixels(data)
        if pixels is not None:
            return pixels
    read = _read_with_opencv if header.reader == "opencv" else _read_with_pillow
    try:
        return read(data, header)
    except _FOREIGN_ERRORS as error:
        if isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        raise BrokenImage(f"the {header.format.upper()} data is truncated or damaged") from error


def _read_with_opencv(data: bytes, header: Header) -> npt.NDArray[Any]:
    """Return what `_read` does."""
    plain = header.bits <= 8 and header.format != "tiff" and not header.may_be_transparent
    flags = cv2.IMREAD_COLOR_RGB if plain else cv2.IMREAD_UNCHANGED
    raw = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    if raw is None:
        raise BrokenImage(f"the {header.format.upper()} data is truncated or damaged")
    if plain or raw.ndim == 2:
        return np.asarray(raw)
    order = [2, 1, 0, 3] if raw.shape[2] == 4 else [2, 1, 0]
    swapped: npt.NDArray[Any] = np.empty_like(raw)
    for target, source in enumerate(order):
        swapped[..., target] = raw[..., source]
    return swapped


def _read_with_pillow(data: bytes, header: Header) -> UInt8:
    """Return (H, W, 3) or (H, W, 4) uint8 in RGB order."""
    with _PLUGINS[header.format](io.BytesIO(data)) as image:
        image.load()
        converted = image.convert("RGBA" if image.has_transparency_data else "RGB")
        return np.array(converted, dtype=np.uint8)
