"""Every kind of file a client may send, against Pillow or against the numbers it was made from."""

from __future__ import annotations

import io
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.domain import DecodedImage, ImageLimits
from service.errors import BrokenImage, UnsupportedFormat
from service.imaging.decode import decode_image
from tests.image_files import chunk, encode, noise, picture, pillow_says, png, png_header, tiff
from tests.live import ROOT

LIMITS = ImageLimits()

SHORT_OF_MEMORY = """
import resource, sys
from PIL import Image
from service.domain import ImageLimits
from service.imaging.decode import decode_image
from tests.image_files import encode, picture
form, mode = sys.argv[1:]
large = encode(Image.new(mode, (4000, 4000)), form)
decode_image(encode(picture(mode), form), ImageLimits())
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 2**23, resource.RLIM_INFINITY))
try:
    decode_image(large, ImageLimits())
except Exception as error:
    print(type(error).__name__)
"""

MODES_OF_FORMATS = {
    "PNG": ("1", "L", "LA", "RGB", "RGBA", "P", "P+t", "P+tt"),
    "JPEG": ("L", "RGB", "CMYK", "YCbCr"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "RGB", "RGBA", "P", "CMYK", "YCbCr", "LAB"),
    "BMP": ("1", "L", "RGB", "P"),
    "GIF": ("1", "L", "RGB", "P", "P+t", "RGBA"),
}
KINDS = [(form, mode) for form, modes in MODES_OF_FORMATS.items() for mode in modes]
FORMATS_WITH_EXIF = ("PNG", "JPEG", "WEBP", "TIFF")


def decoded(data: bytes) -> DecodedImage:
    return decode_image(data, LIMITS)


def scaled_by_percentiles(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The promise of the depth module, in float64 throughout."""
    wide = values.astype(np.float64)
    low, high = np.percentile(wide, [1, 99.8], method="inverted_cdf")
    scaled: np.ndarray[Any, Any] = np.rint(np.clip((wide - low) / (high - low), 0, 1) * 255)
    return scaled


@pytest.mark.parametrize(("form", "mode"), KINDS)
@pytest.mark.parametrize("size", [(13, 7), (1, 1), (64, 3)])
def test_every_mode_of_every_format_decodes_as_pillow_decodes_it(
    form: str, mode: str, size: tuple[int, int]
) -> None:
    data = encode(picture(mode, *size), form)
    image = decoded(data)
    np.testing.assert_array_equal(image.pixels, pillow_says(data))
    assert image.format == form.lower()
    assert image.pixels.dtype == np.uint8
    assert image.pixels.flags.c_contiguous
    assert image.scaled_range is None


@pytest.mark.parametrize("form", FORMATS_WITH_EXIF)
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied_exactly_once(form: str, mode: str, orientation: int) -> None:
    data = encode(picture(mode), form, orientation=orientation)
    image = decoded(data)
    np.testing.assert_array_equal(image.pixels, pillow_says(data))
    assert image.orientation_applied == (orientation != 1)
    assert (image.width, image.height) == ((13, 7) if orientation < 5 else (7, 13))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_deep_tiff_is_applied_exactly_once(orientation: int) -> None:
    values = noise(7, 13, 3, dtype="uint16")
    stored = tiff(values, photometric="rgb")
    turned = tiff(values, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    upright = Image.fromarray(decoded(stored).pixels)
    upright.getexif()[0x0112] = orientation
    expected = pillow_says(encode(upright, "PNG", orientation=orientation))
    np.testing.assert_array_equal(decoded(turned).pixels, expected)


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_an_orientation_that_does_not_exist_is_none(orientation: int) -> None:
    image = decoded(encode(picture("RGB"), "JPEG", orientation=orientation))
    assert not image.orientation_applied
    assert (image.width, image.height) == (13, 7)


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_damaged_exif_does_not_spoil_the_picture(form: str) -> None:
    plain = picture("RGB")
    image = decoded(encode(plain, form, exif=b"Exif\0\0II*\0\xff\xff\xff\xff"))
    np.testing.assert_array_equal(image.pixels, np.asarray(plain))
    assert not image.orientation_applied


def test_transparent_pixels_show_white_whatever_colour_lies_below() -> None:
    values = noise(7, 13, 4)
    values[..., 3] = 0
    assert decoded(png(values)).pixels.min() == 255


@pytest.mark.parametrize(
    ("bits", "row"), [(1, b"\x55"), (2, b"\x11" * 2), (4, b"\1" * 4), (8, b"\0\1" * 4)]
)
def test_a_transparent_grey_shows_white_at_every_depth(bits: int, row: bytes) -> None:
    image = decoded(
        png_header(8, 1, bits=bits, colour=0)
        + chunk(b"tRNS", b"\0\1")
        + chunk(b"IDAT", zlib.compress(b"\0" + row))
        + chunk(b"IEND", b"")
    )
    np.testing.assert_array_equal(image.pixels[0, :, 0], [0, 255] * 4)
    assert image.source_bits == bits


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_is_scaled_by_percentiles_and_says_so(channels: int) -> None:
    values = noise(7, 13, channels, dtype="uint16")
    colours = values[..., : 1 if channels < 3 else 3]
    opaque = values.copy()
    opaque[..., -1] = opaque[..., -1] if channels in (1, 3) else 65_535
    image = decoded(png(opaque))
    expected = np.broadcast_to(scaled_by_percentiles(colours), (7, 13, 3))
    np.testing.assert_array_equal(image.pixels, expected)
    low, high = np.percentile(colours, [1, 99.8], method="inverted_cdf")
    assert image.scaled_range == (low, high)
    assert image.source_bits == 16


def test_16_bit_alpha_lays_the_scaled_colours_on_white() -> None:
    values = noise(7, 13, 4, dtype="uint16")
    alpha = np.rint(values[..., 3:] / 65_535 * 255)
    scaled = scaled_by_percentiles(values[..., :3])
    expected = np.floor((scaled * alpha + 255 * (255 - alpha)) / 255 + 0.5)
    assert np.abs(decoded(png(values)).pixels - expected).max() <= 1


@pytest.mark.parametrize(
    "dtype",
    ["uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"],
)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"tile": (16, 16)},
    ],
    ids=str,
)
def test_deep_grey_tiff_is_scaled_by_percentiles(dtype: str, options: dict[str, Any]) -> None:
    values = noise(40, 50, dtype=dtype)
    image = decoded(tiff(values, photometric="minisblack", **options))
    expected = np.broadcast_to(scaled_by_percentiles(values)[..., None], (40, 50, 3))
    assert np.abs(image.pixels - expected).max() <= 1
    assert image.source_bits == 8 * np.dtype(dtype).itemsize
    assert image.scaled_range is not None


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_deep_colour_tiff_keeps_the_order_of_its_channels(dtype: str) -> None:
    values = noise(7, 13, 3, dtype=dtype)
    image = decoded(tiff(values, photometric="rgb"))
    assert np.abs(image.pixels - scaled_by_percentiles(values)).max() <= 1


def test_a_fourth_channel_that_is_not_alpha_is_left_out() -> None:
    values = noise(7, 13, 4, dtype="uint16")
    data = tiff(values, photometric="rgb", extrasamples=["unspecified"])
    assert np.abs(decoded(data).pixels - scaled_by_percentiles(values[..., :3])).max() <= 1


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_white_is_zero_comes_out_bright_where_it_is_zero(dtype: str) -> None:
    values = np.arange(64).reshape(8, 8).astype(dtype)
    pixels = decoded(tiff(values, photometric="miniswhite")).pixels
    assert pixels[0, 0, 0] > pixels[-1, -1, 0]


def test_the_range_of_a_picture_whose_white_is_zero_begins_with_what_became_0() -> None:
    values = np.arange(64, dtype="uint16").reshape(8, 8)
    assert decoded(tiff(values, photometric="minisblack")).scaled_range == (0, 63)
    assert decoded(tiff(values, photometric="miniswhite")).scaled_range == (63, 0)


def test_twelve_bits_in_sixteen_fill_the_whole_range() -> None:
    values = noise(32, 32, dtype="uint16") % 4096
    pixels = decoded(tiff(values)).pixels
    assert (pixels.min(), pixels.max()) == (0, 255)


@pytest.mark.parametrize(
    ("options", "frames"),
    [({"form": "GIF"}, 3), ({"form": "PNG"}, 3), ({"form": "WEBP"}, 3), ({"form": "MPO"}, 3)],
    ids=str,
)
def test_of_several_frames_the_first_is_decoded_and_all_are_counted(
    options: dict[str, str], frames: int
) -> None:
    first, *others = (picture("RGB", seed=seed) for seed in range(3))
    data = encode(first, options["form"], save_all=True, append_images=others)
    image = decoded(data)
    assert image.frames == frames
    np.testing.assert_array_equal(image.pixels, pillow_says(data))


def test_of_several_tiff_pages_the_first_is_decoded_and_all_are_counted() -> None:
    values = noise(5, 7, 13)
    image = decoded(tiff(values, photometric="minisblack"))
    np.testing.assert_array_equal(image.pixels[..., 0], values[0])
    assert image.frames == 5


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("size", [(1, 1), (17, 9), (333, 64)])
def test_jpeg_decodes_as_pillow_decodes_it(
    *, progressive: bool, subsampling: int, size: tuple[int, int]
) -> None:
    data = encode(picture("RGB", *size), "JPEG", progressive=progressive, subsampling=subsampling)
    np.testing.assert_array_equal(decoded(data).pixels, pillow_says(data))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_broken(form: str, share: float) -> None:
    data = encode(picture("RGB", 100, 80), form)
    with pytest.raises(BrokenImage, match=r"truncated|damaged"):
        decoded(data[: int(share * len(data))])


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_a_file_that_ends_in_its_header_is_broken(form: str) -> None:
    with pytest.raises(BrokenImage):
        decoded(encode(picture("RGB"), form)[:17])


@pytest.mark.parametrize(
    "data",
    [b"", b"\x89PNG", b"%PDF-1.7", b"<svg xmlns='http://www.w3.org/2000/svg'/>", bytes(1000)],
)
def test_what_is_no_image_is_an_unsupported_format(data: bytes) -> None:
    with pytest.raises(UnsupportedFormat, match="none of PNG, JPEG, WebP, TIFF, BMP and GIF"):
        decoded(data)


@pytest.mark.parametrize("form", ["ICO", "PPM", "TGA", "PCX", "JPEG2000", "ICNS", "DDS"])
def test_formats_that_are_not_on_the_list_are_refused_though_pillow_knows_them(form: str) -> None:
    with pytest.raises(UnsupportedFormat):
        decoded(encode(picture("RGB", 32, 32), form))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(tiff(noise(4, 4, dtype="int8")), id="signed 8 bits"),
        pytest.param(tiff(noise(4, 4, dtype="float16")), id="float16"),
        pytest.param(
            tiff(noise(4, 4, 2, dtype="uint16"), photometric="minisblack", planarconfig="contig"),
            id="two deep channels",
        ),
        pytest.param(
            tiff(noise(4, 4, 3, dtype="uint16"), photometric="minisblack", planarconfig="contig"),
            id="three deep channels that are not colour",
        ),
        pytest.param(
            tiff(noise(4, 4, 5), photometric="minisblack", planarconfig="contig"),
            id="five channels",
        ),
        pytest.param(
            tiff(noise(3, 4, 4, dtype="uint16"), photometric="rgb", planarconfig="separate"),
            id="deep planes",
        ),
        pytest.param(
            tiff(noise(4, 4, 4, dtype="uint16"), photometric="rgb", extrasamples=["assocalpha"]),
            id="deep and multiplied by alpha",
        ),
        pytest.param(
            tiff(np.zeros((4, 4), "complex64"), photometric="minisblack"), id="complex numbers"
        ),
        pytest.param(
            encode(picture("L"), "JPEG").replace(b"\0\x0b\x08", b"\0\x0b\x0c"), id="12-bit"
        ),
    ],
)
def test_kinds_that_no_reader_gives_faithfully_are_refused_as_unsupported(data: bytes) -> None:
    with pytest.raises(UnsupportedFormat):
        decoded(data)


def test_no_message_names_a_library_or_where_it_lies() -> None:
    with pytest.raises(BrokenImage) as caught:
        decoded(encode(picture("RGB", 100, 80), "TIFF")[:5000])
    assert caught.value.detail == "the TIFF data is truncated or damaged"


@pytest.mark.skipif(sys.platform != "linux", reason="memory can be limited on Linux only")
@pytest.mark.parametrize(
    ("form", "mode"),
    [
        pytest.param("PNG", "RGB", id="our own reader"),
        pytest.param("JPEG", "RGB", id="OpenCV"),
        pytest.param("GIF", "L", id="Pillow"),
    ],
)
def test_a_sound_file_that_there_is_no_memory_for_is_not_called_broken(
    form: str, mode: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, form, mode],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout == "MemoryError\n"


def test_many_threads_decode_at_once_and_agree() -> None:
    files = [encode(picture(mode, 64, 48), form) for form, mode in KINDS] * 5
    expected = [decoded(data).pixels for data in files]
    with ThreadPoolExecutor(8) as pool:
        found = [image.pixels for image in pool.map(decoded, files)]
    assert all(map(np.array_equal, found, expected))


def test_bytes_after_the_end_are_ignored() -> None:
    plain = picture("RGB")
    file = io.BytesIO(encode(plain, "PNG") + b"trailing")
    np.testing.assert_array_equal(decoded(file.getvalue()).pixels, np.asarray(plain))
