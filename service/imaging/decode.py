"""Bytes to RGB pixels: limits first, orientation once, every foreign error translated here.

The header is read by our own code (`service.imaging.header`), so that nothing is allocated for a
picture that is not allowed. Then OpenCV decodes what it decodes faster than Pillow with the same
result (JPEG, PNG, WebP, BMP) or more fully (TIFF of more than 8 bits), Pillow the rest (CMYK JPEG,
GIF, other TIFF, animations). Both let other threads run meanwhile.

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

from service.domain import DecodedImage, ImageLimits
from service.errors import BrokenImage
from service.imaging import png
from service.imaging.depth import scale_to_8_bits
from service.imaging.header import Header, read_header
from service.imaging.upright import flatten, orient

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
    MemoryError,
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


def decode_image(data: bytes, limits: ImageLimits) -> DecodedImage:
    """Decode the first frame of an image file.

    Parameters
    ----------
    data : bytes
        A PNG, JPEG, WebP, TIFF, BMP or GIF file.
    limits : ImageLimits
        Checked against the header before any pixel is allocated.

    Returns
    -------
    DecodedImage
        RGB, 8 bits, upright. Grey becomes three equal channels; palettes are resolved;
        transparency shows a white ground; CMYK becomes RGB; more than 8 bits, signed and floating
        point values are scaled by percentiles (`service.imaging.depth`).

    Raises
    ------
    TooLarge
        If the file has more bytes or pixels than `limits` allow.
    UnsupportedFormat
        If it is no format on the list, or a kind of one that cannot be read.
    BrokenImage
        If it is truncated or damaged. A file is never half decoded.
    """
    header = read_header(data, limits)
    try:
        if header.reader == "opencv":
            raw = _read_with_opencv(data, header)
        else:
            raw = _read_with_pillow(data, header)
    except _FOREIGN_ERRORS as error:
        raise BrokenImage(f"the {header.format.upper()} data is truncated or damaged") from error
    return _finish(raw, header)


def _read_with_opencv(data: bytes, header: Header) -> npt.NDArray[Any]:
    """Return (H, W), (H, W, 3) or (H, W, 4) in RGB order, in the type of the file."""
    plain = header.bits <= 8 and header.format != "tiff" and not header.may_be_transparent
    flags = cv2.IMREAD_COLOR_RGB if plain else cv2.IMREAD_UNCHANGED
    if header.format == "png":
        data = png.pixels_only(data)
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


def _read_with_pillow(data: bytes, header: Header) -> npt.NDArray[np.uint8]:
    """Return (H, W, 3) or (H, W, 4) uint8 in RGB order."""
    with _PLUGINS[header.format](io.BytesIO(data)) as image:
        image.load()
        converted = image.convert("RGBA" if image.has_transparency_data else "RGB")
        return np.array(converted, dtype=np.uint8)


def _finish(raw: npt.NDArray[Any], header: Header) -> DecodedImage:
    """Scale, flatten and turn what a library decoded."""
    # Both libraries carry out the orientation of a TIFF file themselves.
    turn = 1 if header.format == "tiff" else header.orientation
    stored = (header.height, header.width)
    if header.format == "tiff" and header.orientation >= 5:
        stored = stored[::-1]
    if raw.shape[:2] != stored:
        raise BrokenImage("the pixels do not fill the size that the header claims")
    colour, alpha = _split_alpha(raw, header)
    scaled_range = None
    if raw.dtype != np.uint8:
        colour, scaled_range = scale_to_8_bits(colour)
    if header.inverted:
        colour = 255 - colour
    if colour.ndim == 2:
        colour = cv2.cvtColor(colour, cv2.COLOR_GRAY2RGB)
    if alpha is not None:
        colour = flatten(np.ascontiguousarray(colour), alpha)
    return DecodedImage(
        pixels=np.ascontiguousarray(orient(colour, turn)),
        format=header.format,
        orientation_applied=header.orientation != 1,
        source_bits=header.bits,
        scaled_range=scaled_range,
        frames=header.frames,
    )


def _split_alpha(
    raw: npt.NDArray[Any], header: Header
) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8] | None]:
    """Return the colours, and alpha where there is any."""
    if raw.shape[2:] == (4,):
        alpha = _alpha_to_8_bits(raw[..., 3]) if header.may_be_transparent else None
        return raw[..., :3], alpha
    if header.transparent_grey is not None:
        # OpenCV widens grey of fewer than 8 bits, and knows nothing of the transparent value.
        widened = 255 // (2**header.bits - 1) if header.bits < 8 else 1
        grey = raw if raw.ndim == 2 else raw[..., 0]
        opaque = grey != header.transparent_grey * widened
        return raw, np.where(opaque, 255, 0).astype(np.uint8)
    return raw, None


def _alpha_to_8_bits(alpha: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Scale alpha by the range of its type; floating point alpha lies in 0..1."""
    if alpha.dtype == np.uint8:
        return alpha
    top = 1.0 if alpha.dtype.kind == "f" else float(np.iinfo(alpha.dtype).max)
    share = alpha.astype(np.float32) / np.float32(top)
    np.nan_to_num(share, copy=False, nan=1.0)
    alpha_8: npt.NDArray[np.uint8] = np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
    return alpha_8
