"""Damaged image files: valid ones of every kind, flipped, cut, spliced and lied about."""

from __future__ import annotations

import random
import struct
from typing import Any

from tests.image_files import chunk, encode, noise, picture, png, tiff

_EXTREMES = (0, 1, 2, 0x7F, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF)


def seeds() -> list[bytes]:
    """Return valid files of every format and mode, a few hundred bytes each."""
    files = [
        encode(picture(mode), form)
        for form, modes in {
            "PNG": ("1", "L", "LA", "RGB", "RGBA", "P", "P+t", "P+tt"),
            "JPEG": ("L", "RGB", "CMYK"),
            "WEBP": ("RGB", "RGBA"),
            "TIFF": ("1", "L", "LA", "RGB", "RGBA", "P", "CMYK", "YCbCr", "LAB"),
            "BMP": ("1", "L", "RGB", "RGBA", "P"),
            "GIF": ("L", "RGB", "P", "RGBA"),
        }.items()
        for mode in modes
    ]
    colour, other = picture("RGB"), picture("RGB", seed=1)
    many: dict[str, Any] = {"save_all": True, "append_images": [other, colour]}
    files += [
        encode(colour, "JPEG", progressive=True, orientation=6),
        encode(colour, "JPEG", restart_marker_blocks=1),
        encode(colour, "MPO", **many),
        encode(colour, "WEBP", lossless=False, orientation=3),
        encode(colour, "WEBP", **many),
        encode(colour, "PNG", orientation=5, **many),
        encode(colour, "GIF", **many),
        encode(colour, "TIFF", orientation=8),
        tiff(noise(3, 7, 13), photometric="minisblack"),
        *(
            encode(colour, "TIFF", compression=method)
            for method in ("packbits", "tiff_lzw", "tiff_deflate", "jpeg")
        ),
        encode(picture("1"), "TIFF", compression="group4"),
        png(noise(7, 13, 1, dtype="uint16"), chunk(b"tRNS", b"\1\2")),
        png(noise(7, 13, 2, dtype="uint16")),
        png(noise(7, 13, 4, dtype="uint16")),
        *(
            tiff(noise(7, 13, dtype=dtype))
            for dtype in ("uint16", "int16", "uint32", "int32", "float32", "float64")
        ),
        tiff(noise(7, 13, 3, dtype="uint16"), photometric="rgb", compression="zlib"),
        tiff(noise(40, 50, dtype="uint16"), tile=(16, 16)),
        tiff(noise(7, 13, dtype="float32"), bigtiff=True, byteorder=">"),
    ]
    return files


def mutate(rng: random.Random, files: list[bytes]) -> bytes:
    """Damage one of the files in one to four ways."""
    data = bytearray(rng.choice(files))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        rng.choice(_DAMAGES)(rng, data, files)
    return bytes(data)


def _flip(rng: random.Random, data: bytearray, _files: list[bytes]) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _truncate(rng: random.Random, data: bytearray, _files: list[bytes]) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _cut(rng: random.Random, data: bytearray, _files: list[bytes]) -> None:
    start = rng.randrange(len(data) + 1)
    del data[start : start + rng.choice((1, 2, 4, 16, 64))]


def _repeat(rng: random.Random, data: bytearray, _files: list[bytes]) -> None:
    start = rng.randrange(len(data) + 1)
    part = data[start : start + rng.choice((1, 4, 16, 64))]
    data[start:start] = part * rng.choice((1, 2, 50))


def _splice(rng: random.Random, data: bytearray, files: list[bytes]) -> None:
    other = rng.choice(files)
    data[rng.randrange(len(data) + 1) :] = other[rng.randrange(len(other)) :]


def _lie(rng: random.Random, data: bytearray, _files: list[bytes]) -> None:
    """Write an extreme number, most often into the header."""
    value = rng.choice(_EXTREMES)
    form = rng.choice(["<H", ">H", "<I", ">I"] if value <= 0xFFFF else ["<I", ">I"])
    last = len(data) - struct.calcsize(form)
    if last >= 0:
        reach = rng.choice((min(last, 64), min(last, 256), last))
        struct.pack_into(form, data, rng.randint(0, reach), value)


_DAMAGES = (_flip, _flip, _truncate, _cut, _repeat, _splice, _lie, _lie)
