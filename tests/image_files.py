"""Image files of every kind, drawn from numbers: what the imaging tests feed to the decoder."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image, ImageOps

PNG_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def noise(*shape: int, dtype: str = "uint8", seed: int = 0) -> npt.NDArray[Any]:
    """Draw numbers over the whole range of an integer type, or 0..1 for a float."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.random(shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


def picture(mode: str, width: int = 13, height: int = 7, *, seed: int = 0) -> Image.Image:
    """Draw a noisy picture in a mode of Pillow; ``P+t`` and ``P+tt`` have transparent colours."""
    if mode == "1":
        return Image.fromarray(noise(height, width, seed=seed) > 127)
    if mode.startswith("P"):
        colours = Image.fromarray(noise(height, width, 3, seed=seed)).quantize(16)
        if mode == "P+t":
            colours.info["transparency"] = 3
        elif mode == "P+tt":
            colours.info["transparency"] = noise(16, seed=seed).tobytes()
        return colours
    channels = len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(
        mode, (width, height), noise(height, width, channels, seed=seed).tobytes()
    )


def encode(
    image: Image.Image, form: str, *, orientation: int | None = None, **options: Any
) -> bytes:
    """Write a picture with Pillow; colours under transparency and EXIF are kept."""
    if orientation is not None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    if form == "WEBP":
        options = {"lossless": True, "exact": True} | options
    if "transparency" in image.info:
        options["transparency"] = image.info["transparency"]
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    """Frame a PNG chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int, *, bits: int = 8, colour: int = 2) -> bytes:
    """Return signature and header of a PNG file."""
    fields = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", fields)


def png(values: npt.NDArray[Any], *chunks: bytes) -> bytes:
    """Write 8- or 16-bit values of 1 to 4 channels as PNG, `chunks` standing before the pixels."""
    height, width, channels = values.shape
    wide = values.astype(values.dtype.newbyteorder(">"))
    rows = b"".join(b"\0" + row.tobytes() for row in wide)
    header = png_header(
        width, height, bits=8 * values.dtype.itemsize, colour=PNG_COLOUR_TYPES[channels]
    )
    return header + b"".join(chunks) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(values: npt.NDArray[Any], **options: Any) -> bytes:
    """Write values as TIFF; `options` are those of tifffile."""
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


def book(*pages: npt.NDArray[Any], kind: str = "<", **options: Any) -> bytes:
    """Write pages of any sizes and depths into one TIFF file, such as ``>+`` (BigTIFF)."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file, bigtiff="+" in kind, byteorder=kind[0]) as writer:
        for page in pages:
            photometric = "rgb" if page.ndim == 3 else "minisblack"
            writer.write(page, photometric=photometric, **options)
    return file.getvalue()


def directories(data: bytes) -> list[int]:
    """Return where the directories of a little-endian TIFF file are, in the order of its pages."""
    places = [struct.unpack_from("<I", data, 4)[0]]
    while following := struct.unpack_from("<I", data, _end_of_directory(data, places[-1]))[0]:
        places.append(following)
    return places


def leading_to(data: bytes, page: int, place: int) -> bytes:
    """Let a page of such a file be followed by what is at `place`."""
    at = _end_of_directory(data, directories(data)[page])
    return data[:at] + struct.pack("<I", place) + data[at + 4 :]


def _end_of_directory(data: bytes, place: int) -> int:
    return int(place + 2 + 12 * struct.unpack_from("<H", data, place)[0])


def pillow_says(data: bytes) -> npt.NDArray[np.uint8]:
    """Decode with Pillow alone: upright, on white, RGB. The oracle for files of up to 8 bits."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, "white")
        ground.alpha_composite(image.convert("RGBA"))
        image = ground
    return np.asarray(image.convert("RGB"))
