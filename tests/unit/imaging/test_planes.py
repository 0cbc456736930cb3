"""One page of a TIFF file, one channel of an image."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from service.domain import DecodedImage, ImageLimits, Plane
from service.errors import BadParameter, BrokenImage, TooLarge
from service.imaging.decode import decode_image
from tests.image_files import book, encode, noise, picture, png, tiff

LIMITS = ImageLimits()


def at(data: bytes, page: int = 0, channel: int | None = None) -> DecodedImage:
    return decode_image(data, LIMITS, Plane(page, channel))


@pytest.mark.parametrize("kind", ["<", ">", "<+"])
def test_a_page_is_read_as_a_file_of_its_own_would_be(kind: str) -> None:
    pages = [noise(7, 13), noise(9, 5, 3)]
    pages += [noise(6, 8, dtype="uint16"), noise(4, 4, 3, dtype="uint16")]
    data = book(*pages, kind=kind)
    for number, page in enumerate(pages):
        found, alone = at(data, number), at(book(page))
        np.testing.assert_array_equal(found.pixels, alone.pixels)
        assert (found.source_bits, found.scaled_range) == (alone.source_bits, alone.scaled_range)
        assert (found.frames, found.plane) == (4, Plane(number))


@pytest.mark.parametrize("page", [3, 100, -1])
def test_a_page_that_is_not_there_is_named(page: int) -> None:
    with pytest.raises(BadParameter, match=f"page is {page}, but the pages .* go from 0 to 2"):
        at(tiff(noise(3, 7, 13), photometric="minisblack"), page)


@pytest.mark.parametrize("form", ["PNG", "GIF", "JPEG"])
def test_only_tiff_files_have_pages(form: str) -> None:
    with pytest.raises(BadParameter, match="only TIFF files have pages"):
        at(encode(picture("RGB"), form), 1)


def test_limits_hold_for_the_page_that_is_read() -> None:
    data = book(noise(4, 4), noise(40, 40))
    limits = ImageLimits(max_pixels=100)
    assert decode_image(data, limits).size == (4, 4)
    with pytest.raises(TooLarge, match="40 x 40"):
        decode_image(data, limits, Plane(1))


def test_pages_in_a_circle_are_counted_once() -> None:
    data = bytearray(book(noise(7, 13), noise(5, 6)))
    first = struct.unpack_from("<I", data, 4)[0]
    entries = struct.unpack_from("<H", data, first)[0]
    second = struct.unpack_from("<I", data, first + 2 + 12 * entries)[0]
    entries = struct.unpack_from("<H", data, second)[0]
    struct.pack_into("<I", data, second + 2 + 12 * entries, first)
    assert (at(bytes(data), 1).size, at(bytes(data), 1).frames) == ((5, 6), 2)


@pytest.mark.parametrize("data", [b"II*\0", b"II+\0\x08\0\0\0", b"II*\0\x08\0\0\0\xff"])
def test_a_file_that_ends_in_its_header_has_no_second_page(data: bytes) -> None:
    with pytest.raises((BrokenImage, BadParameter)):
        at(data, 1)


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_channel_becomes_grey(channel: int) -> None:
    values = noise(7, 13, 3)
    found = at(png(values), channel=channel)
    np.testing.assert_array_equal(found.pixels, values[..., [channel] * 3])
    assert found.plane == Plane(0, channel)


def test_a_deep_channel_is_scaled_by_its_own_range() -> None:
    values = noise(32, 32, 3, dtype="uint16")
    values[..., 1] //= 100
    data = tiff(values, photometric="rgb")
    assert at(data).pixels[..., 1].max() < 10
    dim = at(data, channel=1)
    assert dim.pixels.max() == 255
    assert dim.scaled_range is not None
    assert dim.scaled_range[1] <= values[..., 1].max()


def test_a_channel_is_turned_and_laid_on_white_as_the_colours_are() -> None:
    image = picture("RGBA")
    data = encode(image, "PNG", orientation=6)
    np.testing.assert_array_equal(at(data, channel=2).pixels[..., 0], at(data).pixels[..., 2])


def test_grey_images_have_a_first_channel() -> None:
    data = tiff(noise(7, 13, dtype="uint16"))
    np.testing.assert_array_equal(at(data, channel=0).pixels, at(data).pixels)
    with pytest.raises(BadParameter, match="channels of this image go from 0 to 0"):
        at(data, channel=1)


@pytest.mark.parametrize("channel", [3, -1])
def test_a_channel_that_is_not_there_is_named(channel: int) -> None:
    data = encode(Image.new("RGBA", (5, 4)), "PNG")
    with pytest.raises(BadParameter, match="channels of this image go from 0 to 2") as refusal:
        at(data, channel=channel)
    assert refusal.value.parameter == "channel"
