"""Unpacking a PNG file ahead of its decoder changes no picture, and saves no broken one."""

from __future__ import annotations

import zlib

import cv2
import numpy as np
import pytest

from service.imaging.png import MAX_UNPACKED_BYTES, pixels_only, unpacked
from tests.image_files import chunk, encode, noise, picture, png_header

ROW = 40_000
HEADER = png_header(ROW, 4, colour=0)
END = chunk(b"IEND", b"")
PIXELS = b"".join(b"\0" + row.tobytes() for row in noise(4, ROW))


def file_of(packed: bytes, *after: bytes) -> bytes:
    """A grey picture of four rows, as `pixels_only` returns it."""
    return b"".join([HEADER, chunk(b"IDAT", packed), *after, END])


WHOLE = file_of(zlib.compress(PIXELS))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "P+t", "P+tt", "RGB", "RGBA"])
def test_pixels_are_unpacked_and_stay_what_they_are(mode: str) -> None:
    data = pixels_only(encode(picture(mode), "PNG"))
    stored = unpacked(data)
    assert stored != data
    before, after = (
        cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED) for file in (data, stored)
    )
    np.testing.assert_array_equal(after, before)


def test_pixels_of_more_than_one_block_lie_there_as_they_are() -> None:
    stored = unpacked(WHOLE)
    start = stored.index(b"IDAT") + 4
    assert zlib.decompress(stored[start : -len(END) - 4]) == PIXELS
    assert len(stored) - len(PIXELS) < 100


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(file_of(zlib.compress(PIXELS)[:-1] + b"?"), id="wrong sum of its pixels"),
        pytest.param(file_of(zlib.compress(PIXELS)[:-9]), id="cut off"),
        pytest.param(file_of(zlib.compress(PIXELS[:-1])), id="a pixel too few"),
        pytest.param(file_of(zlib.compress(PIXELS + b"\0")), id="a pixel too many"),
        pytest.param(file_of(zlib.compress(PIXELS) + b"?"), id="something behind"),
        pytest.param(file_of(b"?" * 99), id="no pixels"),
        pytest.param(file_of(zlib.compress(PIXELS), chunk(b"tRNS", b"\0\0")), id="out of order"),
        pytest.param(WHOLE[:-13] + b"?" + WHOLE[-12:], id="wrong sum of a chunk"),
        pytest.param(HEADER + END, id="no data"),
    ],
)
def test_what_has_a_fault_is_left_for_its_decoder_to_judge(data: bytes) -> None:
    assert unpacked(data) == data


def test_what_would_take_much_memory_is_left_as_it_is() -> None:
    side = int(MAX_UNPACKED_BYTES**0.5)
    large = np.zeros((side, side), np.uint8)
    data = cv2.imencode(".png", large)[1].tobytes()
    assert unpacked(data) == data


def test_interlaced_pixels_are_left_as_they_are() -> None:
    header = bytearray(WHOLE)
    header[28] = 1
    assert unpacked(bytes(header)) == header
