"""Files that claim, or unpack to, far more than they hold; ``python -m tests.bombs`` weighs them.

Each is tried in turn by one fresh process, which prints as JSON what became of it, how long it took
and how far memory rose above where it stood before.
"""

from __future__ import annotations

import json
import math
import struct
import sys
import time
import zlib
from pathlib import Path

from service.domain import ImageLimits
from service.errors import DiscernError
from service.imaging.decode import decode_image
from tests.image_files import chunk, encode, noise, picture, png, png_header, tiff

REPEATS = 5
"""The quickest counts: what else the machine does is no fault of the decoder."""

Tags = dict[int, int | tuple[int, int] | None]

_PICTURE = png(noise(7, 13, 3))
_TAIL = _PICTURE[len(png_header(13, 7)) :]
_HEAD = png_header(13, 7)


def refused() -> dict[str, bytes]:
    """Return files that must be refused at once."""
    return {
        "png of 169 megapixels": _even_png(13_000),
        "png of 4 gigapixels": png_header(65_535, 65_535)
        + chunk(b"IDAT", bytes(300_000))
        + chunk(b"IEND", b""),
        "png with a wide side": _even_png(40_000, 10),
        "png whose pixels are missing": png_header(10_000, 10_000) + _TAIL,
        "png chunk that claims two gigabytes": _HEAD + b"\x7f\xff\xff\xfftEXt" + _TAIL,
        "png of very many chunks": _HEAD + chunk(b"tEXt", b"") * 30_000 + _TAIL,
        "jpeg of 4 gigapixels": _jpeg_of(65_500, 65_500),
        "jpeg whose pixels are missing": _jpeg_of(10_000, 10_000),
        "jpeg of very many segments": b"\xff\xd8" + b"\xff\xfe\0\2" * 100_000,
        "jpeg of very many scans": _jpeg_of_scans(10_000),
        "jpeg of scans where decoders see no segment": _jpeg_of_hidden_scans(6_000),
        "jpeg of very many segments behind a scan": _jpeg_of_segments(100_000),
        "webp of 268 megapixels": _webp_of(16_384, 16_384),
        "webp of very many chunks": _webp_of_chunks(40_000),
        "gif frame larger than its screen": _gif_of(65_535, 65_535),
        "bmp of 4 gigapixels": _bmp_of(65_535, 65_535),
        "tiff of 4 gigapixels": _tiff_with({256: 65_535, 257: 65_535}),
        "tiff with a tile of 4 gigapixels": _tiff_with({322: 65_520, 323: 65_520}),
        "tiff of very many scans": _tiff_of_scans(10_000),
        "tiff of jpeg strips that are nowhere": _tiff_with({259: 7, 273: None, 279: None}),
        "tiff of jpeg strips that overlap": _tiff_of_scans(1, strips=16),
        "tiff with a million strips": _tiff_with({273: (10**6, 4)}) + bytes(4 * 10**6),
    }


def harmless() -> dict[str, bytes]:
    """Return small pictures with packed ballast that must not be unpacked."""
    zeros = zlib.compress(bytes(2**20))
    text = chunk(b"zTXt", b"note\0\0" + zeros)
    international = chunk(b"iTXt", b"note\0\1\0\0\0" + zeros)
    profile = chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(50 * 2**20)))
    return {
        "png with packed texts": _HEAD + text * 200 + _TAIL,
        "png with packed international texts": _HEAD + international * 200 + _TAIL,
        "png with a colour profile of 50 MiB": _HEAD + profile + _TAIL,
        "tiff of very many pages": _tiff_of_pages(20_000),
        "gif of many frames": _gif_of(1, 1, frames=100_000),
    }


def _even_png(width: int, height: int = 0) -> bytes:
    rows = zlib.compress(bytes((width + 1) * (height or width)), 9)
    header = png_header(width, height or width, colour=0)
    return header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _jpeg_of(width: int, height: int) -> bytes:
    data = encode(picture("L"), "JPEG")
    return data.replace(struct.pack(">BHH", 8, 7, 13), struct.pack(">BHH", 8, height, width))


def _jpeg_of_scans(count: int) -> bytes:
    data = encode(picture("L"), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + b"\xff\xd9"


def _jpeg_of_hidden_scans(count: int) -> bytes:
    """Hide scans behind an undefined marker, which decoders pass over."""
    data = encode(picture("L"), "JPEG", progressive=True)
    first = data.index(b"\xff\xda")
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00"
    claimed = struct.pack(">H", 2 + len(scan) * count)
    restarts = b"\xff\xdd\x00\x04\x00\x01"
    return data[:first] + restarts + scan + b"\x00\xff\x02" + claimed + scan * count + b"\xff\xd9"


def _jpeg_of_segments(count: int) -> bytes:
    data = encode(picture("L"), "JPEG")
    return data[:-2] + b"\xff\xfe\x00\x02" * count + b"\xff\xd9"


def _webp_of(width: int, height: int) -> bytes:
    packed = struct.pack("<I", (width - 1) | (height - 1) << 14)
    body = b"WEBPVP8L" + struct.pack("<I", 300_000) + b"\x2f" + packed + bytes(299_995)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _webp_of_chunks(count: int) -> bytes:
    body = b"WEBPVP8X" + struct.pack("<IIHBHB", 10, 0, 12, 0, 6, 0) + (b"ANMF" + bytes(4)) * count
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _bmp_of(width: int, height: int) -> bytes:
    return b"BM" + bytes(12) + struct.pack("<IiiHH", 40, width, -height, 1, 24) + bytes(300_000)


def _gif_of(width: int, height: int, *, frames: int = 1) -> bytes:
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\2\2\x44\1\0"
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6) + frame * frames + b";"


def _tiff_with(changes: Tags) -> bytes:
    """Write a directory of long numbers; a pair is a count and an offset, None is left out."""
    tags: Tags = {
        256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 273: 300, 277: 1, 278: 16, 279: 300_000,
    }  # fmt: skip
    tags = {tag: value for tag, value in (tags | changes).items() if value is not None}
    entries = b"".join(
        struct.pack("<HHII", tag, 4, *(value if isinstance(value, tuple) else (1, value)))
        for tag, value in sorted(tags.items())
    )
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    return head.ljust(300, b"\0") + zlib.compress(bytes(300_000)).ljust(300_000, b"\0")


def _tiff_of_scans(scans: int, *, strips: int = 1) -> bytes:
    """Let strips all be one JPEG stream of many scans."""
    stream = _jpeg_of_scans(scans)
    lists = struct.pack(f"<{2 * strips}I", *[1000] * strips, *[len(stream)] * strips)
    places = (500, 500 + 4 * strips) if strips > 1 else (1000, len(stream))
    changes: Tags = {
        259: 7,
        278: 16 // strips,
        273: (strips, places[0]),
        279: (strips, places[1]),
    }
    head = _tiff_with(changes)[:500]
    return (head + lists).ljust(1000, b"\0") + stream


def _tiff_of_pages(count: int) -> bytes:
    """Hang a chain of empty directories behind a page."""
    data = bytearray(tiff(noise(7, 13)))
    (first,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * entries, len(data))
    for _ in range(count):
        data += struct.pack("<HI", 0, len(data) + 6)
    return bytes(data)


def _memory_bytes(field: str) -> int:
    line = next(s for s in Path("/proc/self/status").read_text().splitlines() if field in s)
    return 1024 * int(line.split()[1])


def weigh(data: bytes) -> dict[str, str | float]:
    """Try one file; needs Linux, which can set the peak of memory back."""
    outcome = "decoded"
    Path("/proc/self/clear_refs").write_text("5")
    before = _memory_bytes("VmRSS")
    took = math.inf
    for _ in range(REPEATS):
        began = time.perf_counter()
        try:
            decode_image(data, ImageLimits())
        except DiscernError as error:
            outcome = type(error).__name__
        took = min(took, time.perf_counter() - began)
    extra = _memory_bytes("VmHWM") - before
    return {"outcome": outcome, "ms": took * 1e3, "extra_mib": extra / 2**20}


def main() -> None:
    """Weigh every file, after one of each format has loaded what loads on first use."""
    for form in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"):
        decode_image(encode(picture("RGB"), form), ImageLimits())
    files = refused() | harmless()
    json.dump({name: weigh(data) for name, data in files.items()}, sys.stdout)


if __name__ == "__main__":
    main()
