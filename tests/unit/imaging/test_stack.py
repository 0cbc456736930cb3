"""The pages of a file, each as a file of its own."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

from service.domain import ImageLimits, Plane
from service.errors import BrokenImage, TooLarge
from service.imaging.decode import decode_image
from service.imaging.stack import Stack
from service.imaging.tiff import MAX_PAGES, PAGE_OF_STACK, read
from tests.image_files import book, directories, encode, leading_to, noise, picture, png

LIMITS = ImageLimits()
PAGES = [noise(20, 37, dtype="uint16", seed=page) for page in range(12)]


def pixels(data: bytes) -> npt.NDArray[np.uint8]:
    return decode_image(data, LIMITS).pixels


def changed(data: bytes, page: int, tag: int, to: int | None) -> bytes:
    """Change the value of a tag of a page, or its name to one that nobody knows."""
    start = directories(data)[page]
    for at in range(start + 2, len(data), 12):
        if struct.unpack_from("<H", data, at)[0] == tag:
            break
    if to is None:
        return data[:at] + struct.pack("<H", tag ^ 0x4000) + data[at + 2 :]
    return data[: at + 8] + struct.pack("<I", to) + data[at + 12 :]


@pytest.mark.parametrize("kind", ["<", ">", "<+", ">+"])
@pytest.mark.parametrize(
    "options",
    [{}, {"rowsperstrip": 3}, {"tile": (16, 16)}, {"compression": "zlib", "rowsperstrip": 3}],
    ids=["one strip", "strips", "tiles", "deflated"],
)
def test_every_page_is_the_one_that_was_written(kind: str, options: dict[str, Any]) -> None:
    stack = Stack(book(*PAGES, kind=kind, **options))
    assert len(stack) == len(PAGES)
    for number, page in enumerate(PAGES):
        cut = stack.page(number)
        np.testing.assert_array_equal(tifffile.imread(io.BytesIO(cut)), page)
        np.testing.assert_array_equal(pixels(cut), pixels(book(page)))


@pytest.mark.parametrize(
    ("mode", "compression"),
    [
        *(("1", "group4"), ("1", "group3"), ("P", "tiff_lzw"), ("L", "packbits"), ("RGB", "jpeg")),
        *(("RGBA", "tiff_adobe_deflate"), ("CMYK", "lzma"), ("LA", "zstd"), ("YCbCr", "jpeg")),
    ],
)
def test_pages_of_every_compression_are_read_as_files_of_their_own(
    mode: str, compression: str
) -> None:
    first, *others = [picture(mode, 64, 40, seed=page) for page in range(3)]
    data = encode(first, "TIFF", compression=compression, save_all=True, append_images=others)
    for number, page in enumerate([first, *others]):
        alone = encode(page, "TIFF", compression=compression)
        np.testing.assert_array_equal(pixels(Stack(data).page(number)), pixels(alone))


def test_a_page_knows_which_it_was_and_of_how_many() -> None:
    stack = Stack(book(*PAGES))
    for number in range(len(stack)):
        found = decode_image(stack.page(number), LIMITS, Plane(0, 0))
        assert (found.plane, found.frames) == (Plane(number, 0), len(PAGES))
    assert [stack.label(number) for number in (0, 9, 11)] == ["00", "09", "11"]


def test_a_page_holds_nothing_of_the_others() -> None:
    whole = book(*PAGES, description="x" * 100_000)
    assert all(len(Stack(whole).page(number)) < 20 * 37 * 2 + 300 for number in range(12))


class Parts:
    """A file that counts what is read of it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.bytes_read = 0

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, part: slice, /) -> bytes:
        read = self._data[part]
        self.bytes_read += len(read)
        return read


def test_a_page_is_taken_out_without_reading_the_others() -> None:
    parts = Parts(book(*PAGES))
    np.testing.assert_array_equal(pixels(Stack(parts).page(7)), pixels(book(PAGES[7])))
    assert parts.bytes_read < len(parts) / 4


@pytest.mark.parametrize(
    "data",
    [
        *(encode(picture("RGB"), form) for form in ("PNG", "GIF")),
        *(png(noise(5, 4, 1)), book(PAGES[0]), b"", b"II*\0", b"II*\0\0\0\0\0", b"nothing"),
    ],
)
def test_any_other_file_is_its_only_page(data: bytes) -> None:
    stack = Stack(data)
    assert (len(stack), stack.page(0), stack.label(0)) == (1, data, "0")


def test_sizes_that_are_not_said_end_with_the_file() -> None:
    data = changed(book(*PAGES), 3, 279, None)
    np.testing.assert_array_equal(pixels(Stack(data).page(3)), pixels(book(PAGES[3])))


@pytest.mark.parametrize(
    ("tag", "value", "said"),
    [
        *((273, 10**9, "the file ends before"), (279, 10**9, "overlap"), (273, None, "where its")),
        (256, None, "how large it is"),
    ],
    ids=["pixels elsewhere", "pixels without end", "pixels nowhere", "no width"],
)
def test_a_damaged_page_is_damaged_and_the_others_are_not(
    tag: int, value: int | None, said: str
) -> None:
    stack = Stack(changed(book(*PAGES), 1, tag, value))
    with pytest.raises(BrokenImage, match=said):
        pixels(stack.page(1))
    for number in (0, 2, 11):
        np.testing.assert_array_equal(pixels(stack.page(number)), pixels(book(PAGES[number])))


def test_where_the_chain_leads_out_of_the_file_is_a_page_that_is_damaged() -> None:
    stack = Stack(leading_to(book(*PAGES), 4, 10**9))
    assert len(stack) == 6
    np.testing.assert_array_equal(pixels(stack.page(4)), pixels(book(PAGES[4])))
    with pytest.raises(BrokenImage, match="ends too soon"):
        stack.page(5)


def test_pages_in_a_circle_are_pages_once() -> None:
    data = book(*PAGES)
    assert len(Stack(leading_to(data, 4, directories(data)[2]))) == 5


def test_a_directory_out_of_proportion_is_damaged() -> None:
    data = bytearray(book(*PAGES[:2]))
    data += struct.pack("<H", 5000) + bytes(5000 * 12 + 4)
    stack = Stack(leading_to(bytes(data), 1, len(data) - 5000 * 12 - 6))
    with pytest.raises(BrokenImage, match="more than 4096 entries"):
        stack.page(2)


def test_strips_out_of_proportion_are_not_listed() -> None:
    data = bytearray(book(*PAGES[:2]))
    entry = next(
        at for at in range(directories(bytes(data))[1] + 2, len(data), 12)
        if struct.unpack_from("<H", data, at)[0] == 273
    )  # fmt: skip
    struct.pack_into("<HHII", data, entry, 273, 3, 2**19, len(data))
    with pytest.raises(BrokenImage, match="out of proportion"):
        Stack(bytes(data) + bytes(2**20)).page(1)


def test_a_tag_that_stands_twice_is_damage() -> None:
    data = bytearray(book(*PAGES[:2]))
    start = directories(bytes(data))[1]
    data[start + 2 + 12 : start + 2 + 24] = data[start + 2 + 24 : start + 2 + 36]
    with pytest.raises(BrokenImage, match="twice"):
        Stack(bytes(data)).page(1)


def test_more_pages_than_are_counted_are_refused_not_left_out() -> None:
    empty = b"".join(struct.pack("<HI", 0, 8 + 6 * (number + 1)) for number in range(MAX_PAGES + 1))
    assert len(Stack(b"II*\0\x08\0\0\0" + empty[: 6 * MAX_PAGES - 4] + bytes(4))) == MAX_PAGES
    longer = Stack(b"II*\0\x08\0\0\0" + empty)
    assert len(longer) == MAX_PAGES
    with pytest.raises(TooLarge, match="more than 10000 pages"):
        longer.numbers()


def test_of_a_stack_that_is_longer_than_is_counted_a_page_is_read() -> None:
    data = book(*PAGES[:2])
    empty = b"".join(
        struct.pack("<HI", 0, len(data) + 6 * (number + 1)) for number in range(MAX_PAGES)
    )
    found = decode_image(leading_to(data + empty, 1, len(data)), LIMITS, Plane(1))
    np.testing.assert_array_equal(found.pixels, pixels(book(PAGES[1])))


def test_a_stack_is_not_taken_for_a_page_of_another() -> None:
    blank = np.zeros((4, 4), np.uint8)
    stack = book(blank, blank, extratags=[(PAGE_OF_STACK, "H", 2, (5, 7), True)])
    page = read(stack)
    assert (page.page, page.frames) == (0, 2)
