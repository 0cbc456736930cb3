"""PNG files read strip by strip: every filter, every kind, and no broken file."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from service.imaging.png import pixels_only
from service.imaging.scanlines import read_pixels
from tests.image_files import PNG_COLOUR_TYPES, chunk, encode, noise, picture, png_header

FILTERS = {"none": 0, "sub": 1, "up": 2, "average": 3, "paeth": 4}
SHAPES = [(1, 1), (1, 5), (5, 1), (7, 13), (300, 301), (3, 70_000)]
"""The last two have more than one strip, and rows longer than a strip."""

VALUES = noise(4, 40_000)
HEADER = png_header(40_000, 4, colour=0)
END = chunk(b"IEND", b"")


def paeth(left: int, up: int, corner: int) -> int:
    """The predictor as section 9.4 of the standard words it."""
    guess = left + up - corner
    return min((left, up, corner), key=lambda value: abs(guess - value))


def filtered(rows: npt.NDArray[np.uint8], pixel_bytes: int, methods: npt.NDArray[Any]) -> bytes:
    """Filter rows of bytes as the standard says, the method of each row in front of it."""
    above = np.zeros_like(rows)
    above[1:] = rows[:-1]
    left, corner = np.zeros_like(rows), np.zeros_like(rows)
    left[:, pixel_bytes:] = rows[:, :-pixel_bytes]
    corner[:, pixel_bytes:] = above[:, :-pixel_bytes]
    mean = (left.astype(int) + above) // 2
    near = np.vectorize(paeth, otypes=[int])(
        left.astype(int), above.astype(int), corner.astype(int)
    )
    guesses = np.stack([np.zeros_like(mean), left, above, mean, near])[methods, range(len(rows))]
    return np.column_stack([methods, rows - guesses]).astype(np.uint8).tobytes()


def file_of(header: bytes, packed: bytes, *after: bytes) -> bytes:
    return b"".join([header, chunk(b"IDAT", packed), *after, END])


def grey(lines: bytes) -> bytes:
    """A grey picture of four rows, as `pixels_only` returns it."""
    return file_of(HEADER, zlib.compress(lines))


PLAIN = b"".join(b"\0" + row.tobytes() for row in VALUES)
WHOLE = grey(PLAIN)


@pytest.mark.parametrize("method", [*FILTERS, "all in turn"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_filter_is_undone(channels: int, bits: int, method: str) -> None:
    values = noise(11, 9, channels, dtype=f"uint{bits}")
    rows = np.frombuffer(values.astype(f">u{bits // 8}").tobytes(), np.uint8).reshape(11, -1)
    methods = np.full(11, FILTERS[method]) if method in FILTERS else np.arange(11) % 5
    header = png_header(9, 11, bits=bits, colour=PNG_COLOUR_TYPES[channels])
    data = file_of(header, zlib.compress(filtered(rows, channels * bits // 8, methods)))
    pixels = read_pixels(data)
    assert pixels is not None
    assert pixels.dtype == values.dtype
    np.testing.assert_array_equal(pixels, values if channels > 1 else values[..., 0])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_pictures_of_every_size_are_what_opencv_reads(shape: tuple[int, int], mode: str) -> None:
    data = pixels_only(encode(picture(mode, shape[1], shape[0]), "PNG"))
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if mode != "L":
        expected = cv2.cvtColor(
            expected, cv2.COLOR_BGR2RGB if mode == "RGB" else cv2.COLOR_BGRA2RGBA
        )
    pixels = read_pixels(data)
    assert pixels is not None
    np.testing.assert_array_equal(pixels, expected)


def test_a_stream_may_be_cut_into_chunks_anywhere() -> None:
    packed = zlib.compress(PLAIN)
    cuts = [0, 0, 1, 2, 3, 900, 70_000, len(packed) - 1, len(packed)]
    pieces = [packed[a:b] for a, b in zip(cuts, [*cuts[1:], None], strict=True)]
    data = b"".join([HEADER, *(chunk(b"IDAT", piece) for piece in pieces), END])
    pixels = read_pixels(data)
    assert pixels is not None
    np.testing.assert_array_equal(pixels, VALUES)


@pytest.mark.parametrize("mode", ["1", "LA", "P", "P+t", "P+tt"])
def test_other_kinds_are_left_to_a_whole_decoder(mode: str) -> None:
    assert read_pixels(pixels_only(encode(picture(mode), "PNG"))) is None


def test_a_transparent_colour_is_left_to_a_whole_decoder() -> None:
    header = png_header(1, 1, colour=2)
    see_through = chunk(b"tRNS", struct.pack(">3H", 1, 2, 3))
    data = file_of(header + see_through, zlib.compress(b"\0\1\2\3"))
    assert read_pixels(data) is None


def test_interlaced_pixels_are_left_to_a_whole_decoder() -> None:
    fields = HEADER[16:28] + b"\1"
    interlaced = HEADER[:8] + chunk(b"IHDR", fields)
    assert len(interlaced) == len(HEADER)
    assert read_pixels(file_of(interlaced, zlib.compress(PLAIN))) is None


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(file_of(HEADER, zlib.compress(PLAIN)[:-1] + b"?"), id="wrong sum of pixels"),
        pytest.param(file_of(HEADER, zlib.compress(PLAIN)[:-4]), id="no sum of pixels"),
        pytest.param(file_of(HEADER, zlib.compress(PLAIN)[:-9]), id="cut off"),
        pytest.param(grey(PLAIN[:-1]), id="a pixel too few"),
        pytest.param(grey(PLAIN + b"\0"), id="a pixel too many"),
        pytest.param(grey(b"\5" + PLAIN[1:]), id="unknown filter"),
        pytest.param(file_of(HEADER, zlib.compress(PLAIN) + b"?"), id="something behind"),
        pytest.param(file_of(HEADER, b"?" * 99), id="no pixels"),
        pytest.param(file_of(HEADER, b""), id="nothing"),
        pytest.param(
            file_of(HEADER, zlib.compress(PLAIN), chunk(b"tRNS", b"\0\0")), id="out of order"
        ),
        pytest.param(WHOLE[:-13] + b"?" + WHOLE[-12:], id="wrong sum of a chunk"),
        pytest.param(HEADER + END, id="no data"),
        pytest.param(HEADER[:-1] + b"?" + WHOLE[len(HEADER) :], id="wrong sum of the header"),
        pytest.param(HEADER + WHOLE[8:], id="two headers"),
    ],
)
def test_what_has_a_fault_is_left_for_a_whole_decoder_to_judge(data: bytes) -> None:
    assert read_pixels(WHOLE) is not None
    assert read_pixels(data) is None
