"""What a header is believed, and what not."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from service.domain import ImageLimits
from service.errors import BrokenImage, TooLarge, UnsupportedFormat
from service.imaging.compose import compose
from service.imaging.decode import decode_image
from service.imaging.header import Header, read_header
from service.imaging.scans import MAX_SCANS
from tests.bombs import harmless, refused
from tests.image_files import (
    chunk,
    encode,
    noise,
    picture,
    pillow_says,
    png,
    png_header,
    tiff,
)

LIMITS = ImageLimits()
WIDTH, HEIGHT = b"\0\1\4\0", b"\1\1\4\0"
ONE_CHANNEL, TWO_CHANNELS = b"\0\x0b\x08\0\x07\0\x0d\1", b"\0\x0b\x08\0\x07\0\x0d\2"
GIF_HEAD = b"GIF89a\1\0\1\0\0\0\0"
GIF_FRAME = b"\x2c\0\0\0\0\1\0\1\0\0\2\2\x44\1\0"


@pytest.mark.parametrize("data", refused().values(), ids=refused())
def test_what_claims_more_than_it_holds_is_refused(data: bytes) -> None:
    with pytest.raises((TooLarge, BrokenImage)):
        read_header(data, LIMITS)


@pytest.mark.parametrize("data", harmless().values(), ids=harmless())
def test_ballast_does_not_hide_the_picture(data: bytes) -> None:
    image = decode_image(data, LIMITS)
    assert (image.width, image.height) in ((13, 7), (1, 1))


@pytest.mark.parametrize(
    ("form", "mode", "options"),
    [
        ("WEBP", "RGB", {"lossless": False}),
        ("WEBP", "RGB", {"lossless": True}),
        ("WEBP", "RGBA", {"lossless": False}),
        ("WEBP", "RGBA", {"lossless": True}),
        ("TIFF", "RGB", {"big_tiff": True}),
        ("JPEG", "RGB", {"progressive": True}),
        ("JPEG", "L", {"comment": b"\xff" * 100}),
        ("GIF", "L", {"comment": b"of more than one block" * 20}),
    ],
    ids=str,
)
def test_every_form_of_a_format_says_its_size(
    form: str, mode: str, options: dict[str, Any]
) -> None:
    header = read_header(encode(picture(mode), form, **options), LIMITS)
    assert (header.width, header.height) == (13, 7)


def test_a_bitmap_with_the_oldest_header_decodes() -> None:
    rows = bytes(range(12)) * 2
    head = struct.pack("<IHHHH", 12, 4, 2, 1, 24)
    data = b"BM" + struct.pack("<IHHI", 26 + len(rows), 0, 0, 26) + head + rows
    image = decode_image(data, LIMITS)
    np.testing.assert_array_equal(image.pixels[0, 0], [2, 1, 0])
    assert (image.width, image.height) == (4, 2)


def packed(data: bytes, compression: int) -> bytes:
    """Let an uncompressed TIFF claim another compression."""
    entry = struct.pack("<HHI", 259, 3, 1)
    assert entry + b"\1\0" in data
    return data.replace(entry + b"\1\0", entry + struct.pack("<H", compression))


def few_bits(data: bytes) -> bytes:
    """Let a TIFF of 8 bits claim 4 in each of three channels."""
    assert struct.pack("<3H", 8, 8, 8) in data
    return data.replace(struct.pack("<3H", 8, 8, 8), struct.pack("<3H", 4, 4, 4))


def grey_and_alpha(values: np.ndarray[Any, Any], **options: Any) -> bytes:
    """Write two channels as TIFF."""
    kinds = {"extrasamples": ["unassalpha"], "planarconfig": "contig", "compression": "zlib"}
    return tiff(values, photometric="minisblack", **kinds | options)


def bitmap(*masks: int, size: int = 40, bits: int = 32, packing: int = 3) -> bytes:
    """Write 2 x 4 pixels of 0, 1, 2, ..., whose channels lie where masks behind 40 bytes say."""
    pixels = bytes(range(bits))
    head = struct.pack("<IiiHHIIiiII", size, 4, -2, 1, bits, packing, len(pixels), 0, 0, 0, 0)
    head = (head + struct.pack(f"<{len(masks)}I", *masks)).ljust(size, b"\0")
    return (
        b"BM" + struct.pack("<IHHI", 14 + len(head + pixels), 0, 0, 14 + len(head)) + head + pixels
    )


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"BM" + bytes(12) + struct.pack("<I", 13) + bytes(60), id="bmp header"),
        pytest.param(png(noise(7, 13, 3)).replace(b"IHDR", b"IHDX"), id="png without header"),
        pytest.param(png_header(7, 13, bits=3), id="png of three bits"),
        pytest.param(b"RIFF\0\0\0\0WEBPVP9 " + bytes(60), id="webp of another kind"),
        pytest.param(b"GIF89a\1\0\1\0\0\0\0;" + bytes(60), id="gif without picture"),
        pytest.param(encode(picture("L"), "JPEG").replace(b"\xff\xc0", b"\xff\xfe"), id="no frame"),
        pytest.param(b"\xff\xd8\xff\xe0\0\2" + bytes(60), id="jpeg without another marker"),
        pytest.param(tiff(noise(4, 4)).replace(WIDTH, b"\xff\1\4\0"), id="tiff unsized"),
        pytest.param(tiff(noise(4, 4)).replace(HEIGHT, WIDTH), id="tiff tag twice"),
        pytest.param(tiff(noise(4, 4)).replace(HEIGHT, b"\0\1\t\0"), id="twice, signed"),
        pytest.param(b"II*\0\x08\0\0\0\xff\xff" + bytes(90_000), id="tiff of many tags"),
        pytest.param(b"II+\0\x08\0\0\0" + b"\xff" * 40, id="bigtiff offset beyond any file"),
        pytest.param(png_header(0, 5) + chunk(b"IEND", b""), id="no width"),
    ],
)
def test_a_header_that_makes_no_sense_is_broken(data: bytes) -> None:
    with pytest.raises(BrokenImage):
        read_header(data, LIMITS)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (packed(tiff(noise(9, 9, dtype="uint16")), 50_000), "in compression 50000; none, LZW"),
        (packed(tiff(noise(9, 9, dtype="float32")), 34_925), "in compression 34925"),
        (tiff(noise(9, 9), bigtiff=True, byteorder=">"), "big-endian BigTIFF"),
        (tiff(noise(9, 9, 3), photometric="minisblack", planarconfig=1), "3 channels that are not"),
        (packed(tiff(noise(9, 9)), 6), "of the old kind"),
        (packed(tiff(noise(9, 9)), 50_001), "in compression 50001; none, LZW, .* Zstandard"),
        (few_bits(tiff(noise(9, 9, 3), photometric="rgb")), "3 channels of 4 bits"),
        (grey_and_alpha(noise(9, 9, 2), extrasamples=["assocalpha"]), "multiplied by alpha"),
        (grey_and_alpha(noise(2, 9, 9), planarconfig="separate"), "stored apart"),
        (bitmap(0xFF, 0xFF00, 0xFF0000), "in another order than blue, green, red"),
        (bitmap(0xF00, 0xF0, 0xF, bits=16), "16 bits with other channels"),
        (bitmap(0xF800, 0x7E0, 0x1F, 0, bits=16, size=108), "16 bits with other channels"),
        (bitmap(bits=8, packing=1), "BMP with run lengths"),
        (encode(picture("L"), "JPEG").replace(ONE_CHANNEL, TWO_CHANNELS), "JPEG with 2 channels"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_sound_file_that_no_reader_knows_is_not_called_damaged(data: bytes, words: str) -> None:
    with pytest.raises(UnsupportedFormat, match=words):
        read_header(data, LIMITS)


def test_masks_of_the_usual_order_are_no_obstacle() -> None:
    image = decode_image(bitmap(0xFF0000, 0xFF00, 0xFF), LIMITS)
    np.testing.assert_array_equal(image.pixels[0, 0], [2, 1, 0])


@pytest.mark.parametrize("size", [56, 108, 124])
@pytest.mark.parametrize("order", [(16, 8, 0, 24), (0, 8, 16, 24), (24, 16, 8, 0)], ids=str)
def test_a_transparent_bitmap_is_laid_on_white(size: int, order: tuple[int, ...]) -> None:
    data = bitmap(*(0xFF << shift for shift in order), size=size)
    np.testing.assert_array_equal(decode_image(data, LIMITS).pixels, pillow_says(data))


def test_a_long_header_without_alpha_is_opaque() -> None:
    image = decode_image(bitmap(0xFF0000, 0xFF00, 0xFF, 0, size=108), LIMITS)
    np.testing.assert_array_equal(image.pixels[0, 0], [2, 1, 0])


def test_a_picture_of_many_bytes_a_pixel_counts_for_what_it_unpacks_to() -> None:
    values = noise(8, 8, 3, dtype="float32")
    limits = ImageLimits(max_pixels=96)
    assert read_header(tiff(values, photometric="rgb"), limits).bits == 32
    with pytest.raises(TooLarge, match="unpacks to 768 bytes, at most 760"):
        read_header(tiff(values, photometric="rgb"), ImageLimits(max_pixels=95))


@pytest.mark.parametrize("pages", [1, 3])
def test_a_page_of_many_jpeg_strips_decodes(pages: int) -> None:
    first, *others = [picture("L", 64, 2048, seed=page) for page in range(pages)]
    options: dict[str, Any] = {"append_images": others, "save_all": True} if others else {}
    data = encode(first, "TIFF", compression="jpeg", strip_size=512, **options)
    assert data.count(b"\xff\xda") > MAX_SCANS
    assert read_header(data, LIMITS).frames == pages
    np.testing.assert_array_equal(decode_image(data, LIMITS).pixels, pillow_says(data))


def test_what_follows_a_jpeg_picture_is_not_counted() -> None:
    data = encode(picture("RGB"), "JPEG") + b"\xff\xda" * 10_000
    np.testing.assert_array_equal(
        decode_image(data, LIMITS).pixels,
        decode_image(encode(picture("RGB"), "JPEG"), LIMITS).pixels,
    )


def test_pages_that_follow_each_other_in_a_circle_are_counted_once() -> None:
    data = bytearray(tiff(noise(2, 7, 13), photometric="minisblack"))
    first = struct.unpack_from("<I", data, 4)[0]
    entries = struct.unpack_from("<H", data, first)[0]
    second = struct.unpack_from("<I", data, first + 2 + 12 * entries)[0]
    entries = struct.unpack_from("<H", data, second)[0]
    struct.pack_into("<I", data, second + 2 + 12 * entries, first)
    assert read_header(bytes(data), LIMITS).frames == 2


def test_a_page_chain_that_leads_out_of_the_file_ends_there() -> None:
    data = bytearray(tiff(noise(7, 13)))
    first = struct.unpack_from("<I", data, 4)[0]
    entries = struct.unpack_from("<H", data, first)[0]
    struct.pack_into("<I", data, first + 2 + 12 * entries, 10**9)
    assert read_header(bytes(data), LIMITS).frames == 1


@pytest.mark.parametrize(
    ("data", "frames"),
    [
        (GIF_HEAD + GIF_FRAME * 3 + b";", 3),
        (GIF_HEAD + GIF_FRAME + GIF_FRAME[:5], 1),
        (GIF_HEAD + GIF_FRAME[:11] + b"\1x" * 20_000 + b"\0" + GIF_FRAME, 1),
        (GIF_HEAD + GIF_FRAME + b"\x21\xfe\5", 1),
    ],
    ids=["whole", "cut", "beyond the steps", "open comment"],
)
def test_the_frames_of_a_gif_are_those_within_reach(data: bytes, frames: int) -> None:
    assert read_header(data, LIMITS).frames == frames


def test_pixels_of_another_size_than_the_header_claims_are_broken() -> None:
    with pytest.raises(BrokenImage, match="do not fill the size"):
        compose(noise(7, 12, 3), Header("png", 13, 7))


def test_floating_point_alpha_lies_between_0_and_1_and_is_opaque_where_it_is_no_number() -> None:
    raw = np.zeros((1, 4, 4), np.float32)
    raw[0, :, 3] = [0, 1, np.nan, 7]
    image = compose(raw, Header("tiff", 4, 1, bits=32, channels=4, may_be_transparent=True))
    np.testing.assert_array_equal(image.pixels[0, :, 0], [255, 0, 0, 0])
