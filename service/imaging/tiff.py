"""The directories of a TIFF file, of which EXIF is one too.

References
----------
TIFF revision 6.0, Adobe 1992, sections 2 and 8; BigTIFF as libtiff documents it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final, Protocol

from service.errors import BrokenImage, UnsupportedFormat
from service.imaging.scans import check_scans

SIGNATURES: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

UNSIGNED, SIGNED, FLOAT = 1, 2, 3
"""Values of the sample format."""

WHITE_IS_ZERO: Final = 0
"""Photometry in which 0 is the brightest."""

MAX_ENTRIES: Final = 4096
MAX_PAGES: Final = 10_000
"""Pages counted; a longer chain is not followed to its end."""

PAGE_OF_STACK: Final = 65432
"""Private tag of a page that was cut out (`service.imaging.stack`): which it is, of how many."""

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
STRIPS, STRIP_SIZES, TILES, TILE_SIZES = 273, 279, 324, 325
_ORIENTATION, _SAMPLES, _PLANAR, _TILE_WIDTH, _TILE_HEIGHT = 274, 277, 284, 322, 323
_EXTRA_SAMPLES, _SAMPLE_FORMAT = 338, 339
_BLACK_IS_ZERO, _RGB = 1, 2
_MULTIPLIED_ALPHA, _PLAIN_ALPHA = 1, 2
_OLD_JPEG, _JPEG = 6, 7
_SHALLOW_COMPRESSIONS: Final = (1, 2, 3, 4, 5, _OLD_JPEG, _JPEG, 8, 32946, 32773, 34925, 50000)
"""Those of pages of up to 8 bits: CCITT, JPEG, LZMA and Zstandard as well as the following."""
_DEEP_COMPRESSIONS: Final = (1, 5, 8, 32946, 32773)
"""None, LZW, Deflate by both of its numbers, PackBits."""
_DEEP_KINDS: Final = frozenset(
    {(16, UNSIGNED), (16, SIGNED), (32, UNSIGNED), (32, SIGNED), (32, FLOAT)}
    | {(64, UNSIGNED), (64, SIGNED), (64, FLOAT)}
)
_FORMATS_OF_TYPES: Final = {1: "B", 3: "H", 4: "I", 16: "Q"}

_Directory = dict[int, tuple[int, ...]]


class Buffer(Protocol):
    """A file, read as a whole or part by part."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class TiffPage:
    """The first page of a file, or the one that was cut out of it."""

    width: int
    height: int
    bits: int
    channels: int
    sample_format: int
    photometric: int
    has_alpha: bool
    orientation: int
    page: int
    frames: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Byte order and field sizes of the file."""

    order: str
    big: bool

    @property
    def head_bytes(self) -> int:
        """Bytes before the first directory's offset."""
        return 8 if self.big else 4

    @property
    def entry(self) -> str:
        """Format of what an entry begins with: tag, type, number of values."""
        return self.order + ("HHQ" if self.big else "HHI")

    @property
    def offset(self) -> str:
        """Format of a file offset."""
        return self.order + ("Q" if self.big else "I")

    @property
    def count(self) -> str:
        """Format of the number of entries."""
        return self.order + ("Q" if self.big else "H")

    @property
    def entry_bytes(self) -> int:
        """Bytes of one entry."""
        return 20 if self.big else 12


def read(data: bytes) -> TiffPage:
    """Read the first directory and count the pages.

    Parameters
    ----------
    data : bytes
        The file; begins with one of `SIGNATURES`.

    Raises
    ------
    BrokenImage
        If a tag that is needed is missing, doubled, or contradicts another.
    UnsupportedFormat
        If pixels are of a kind that no reader here knows.
    struct.error, OverflowError
        If the file ends inside the directory, or an offset lies beyond any file.
    """
    layout, start = layout_of(data)
    tags = _directory(data, layout, start)
    try:
        width, height = tags[_WIDTH][0], tags[_HEIGHT][0]
    except (KeyError, IndexError) as error:
        raise BrokenImage("the TIFF page does not say how large it is") from error
    bits = set(tags.get(_BITS, (1,)))
    sample_formats = set(tags.get(_SAMPLE_FORMAT, (UNSIGNED,)))
    if len(bits) != 1 or len(sample_formats) != 1:
        raise UnsupportedFormat("TIFF whose channels differ in depth")
    number, frames = _place(tags, len(chain(data, layout, start)[0]))
    page = TiffPage(
        width,
        height,
        bits=bits.pop(),
        channels=_one(tags, _SAMPLES, 1),
        sample_format=sample_formats.pop(),
        photometric=_one(tags, _PHOTOMETRIC, 1),
        has_alpha=_one(tags, _EXTRA_SAMPLES, 0) in (_MULTIPLIED_ALPHA, _PLAIN_ALPHA),
        orientation=_valid(_one(tags, _ORIENTATION, 1)),
        page=number,
        frames=frames,
    )
    _check_kind(page, tags)
    _check_tiles(page, tags)
    if layout.big and layout.order == ">" and page.bits <= 8:
        raise UnsupportedFormat("big-endian BigTIFF of up to 8 bits")
    if _one(tags, _COMPRESSION, 1) == _JPEG:
        _check_streams(data, layout, tags)
    return page


def exif_orientation(block: bytes) -> int:
    """Return the orientation 1..8 of an EXIF block; 1 if it has none, or is damaged."""
    return _valid(first_value(block, _ORIENTATION) or 1)


def first_value(block: bytes, tag: int) -> int | None:
    """Return a number from the first directory of a block; None if there is none to be read."""
    try:
        layout, start = layout_of(block)
        values = _directory(block, layout, start).get(tag, ())
    except (struct.error, OverflowError, BrokenImage):
        return None
    return values[0] if values else None


def layout_of(data: Buffer) -> tuple[Layout, int]:
    """Return how a file is laid out, and where its first directory is.

    Raises
    ------
    BrokenImage
        If it does not begin as TIFF does.
    struct.error
        If it ends at once.
    """
    if data[:4] not in SIGNATURES:
        raise BrokenImage("the TIFF structure does not begin with its signature")
    layout = Layout("<" if data[:2] == b"II" else ">", big=b"+" in data[:4])
    (start,) = unpack(layout.offset, data, layout.head_bytes)
    return layout, start


def unpack(form: str, data: Buffer, at: int) -> tuple[Any, ...]:
    """Read numbers of a form at a place.

    Raises
    ------
    struct.error
        If the file ends before they do.
    """
    return struct.unpack(form, data[at : at + struct.calcsize(form)])


def chain(data: Buffer, layout: Layout, start: int) -> tuple[list[int], int]:
    """Return where the directories are, to a bound and not in circles.

    The second value is where the last one points to, if that was not followed: beyond the bound,
    or where nothing can be read.
    """
    seen: dict[int, None] = {}
    while start and start not in seen and len(seen) < MAX_PAGES:
        try:
            (entries,) = unpack(layout.count, data, start)
            after = start + struct.calcsize(layout.count) + entries * layout.entry_bytes
            seen[start] = None
            (start,) = unpack(layout.offset, data, after)
        except struct.error:
            break
    return list(seen), 0 if start in seen else start


def _directory(data: bytes, layout: Layout, start: int) -> _Directory:
    """Read the whole numbers of a directory, by tag; of long lists only the first 16.

    Of lists as long as the page has strips or tiles: how many numbers, where, and their type.
    """
    (entries,) = struct.unpack_from(layout.count, data, start)
    if entries > MAX_ENTRIES:
        raise BrokenImage(f"the TIFF directory has more than {MAX_ENTRIES} entries")
    at = start + struct.calcsize(layout.count)
    tags: _Directory = {}
    seen: set[int] = set()
    for index in range(entries):
        place = at + index * layout.entry_bytes
        tag, kind, count = struct.unpack_from(layout.entry, data, place)
        # Libraries differ in which of two they believe: one of them might carry another size.
        if tag in seen:
            raise BrokenImage("the TIFF directory names a tag twice")
        seen.add(tag)
        if kind not in _FORMATS_OF_TYPES:
            continue
        form = layout.order + str(min(count, 16)) + _FORMATS_OF_TYPES[kind]
        place += struct.calcsize(layout.entry)
        if count * struct.calcsize(_FORMATS_OF_TYPES[kind]) > struct.calcsize(layout.offset):
            (place,) = struct.unpack_from(layout.offset, data, place)
        tags[tag] = struct.unpack_from(form, data, place)
        if tag in (STRIPS, TILES, STRIP_SIZES, TILE_SIZES):
            tags[tag] = (count, place, kind)
    return tags


def _place(tags: _Directory, counted: int) -> tuple[int, int]:
    """Return which page it is, and of how many."""
    match tags.get(PAGE_OF_STACK):
        case (page, pages) if counted == 1 and page < pages:
            return page, pages
        case _:
            return 0, max(1, counted)


def _check_kind(page: TiffPage, tags: _Directory) -> None:
    """Refuse what neither library reads faithfully."""
    if not 1 <= page.channels <= 4:
        raise UnsupportedFormat(f"TIFF with {page.channels} channels in a page; 1 to 4 can be read")
    if _one(tags, _COMPRESSION, 1) == _OLD_JPEG:
        raise UnsupportedFormat("TIFF with JPEG data of the old kind, which was withdrawn in 1995")
    if page.bits > 8:
        _check_deep(page, tags)
    else:
        _check_shallow(page, tags)


def _check_shallow(page: TiffPage, tags: _Directory) -> None:
    compression = _one(tags, _COMPRESSION, 1)
    if compression not in _SHALLOW_COMPRESSIONS:
        raise UnsupportedFormat(
            f"TIFF in compression {compression}; none, LZW, Deflate, PackBits, JPEG, CCITT, LZMA "
            "and Zstandard can be read"
        )
    if page.sample_format != UNSIGNED:
        raise UnsupportedFormat("TIFF with signed numbers of 8 bits")
    if page.channels > 2 and page.photometric in (WHITE_IS_ZERO, _BLACK_IS_ZERO):
        raise UnsupportedFormat(f"TIFF with {page.channels} channels that are not colours")
    if page.bits < 8 and page.channels > 1:
        raise UnsupportedFormat(f"TIFF with {page.channels} channels of {page.bits} bits")
    multiplied = _one(tags, _EXTRA_SAMPLES, 0) == _MULTIPLIED_ALPHA
    if page.channels == 2 and (multiplied or _one(tags, _PLANAR, 1) != 1):
        raise UnsupportedFormat(
            "TIFF with grey that is multiplied by alpha, or stored apart from it"
        )


def _check_deep(page: TiffPage, tags: _Directory) -> None:
    compression = _one(tags, _COMPRESSION, 1)
    if compression not in _DEEP_COMPRESSIONS:
        raise UnsupportedFormat(
            f"TIFF with more than 8 bits in compression {compression}; "
            "none, LZW, Deflate and PackBits can be read"
        )
    if (page.bits, page.sample_format) not in _DEEP_KINDS:
        raise UnsupportedFormat(f"TIFF with {page.bits} bits in this kind of number")
    if page.photometric not in ((WHITE_IS_ZERO, _BLACK_IS_ZERO) if page.channels == 1 else (_RGB,)):
        raise UnsupportedFormat("TIFF with more than 8 bits that is neither grey nor RGB")
    if page.channels > 1 and _one(tags, _PLANAR, 1) != 1:
        raise UnsupportedFormat("TIFF with more than 8 bits and channels stored one by one")
    if page.channels > 1 and _one(tags, _EXTRA_SAMPLES, 0) == _MULTIPLIED_ALPHA:
        raise UnsupportedFormat("TIFF with more than 8 bits and colours multiplied by alpha")


def _check_tiles(page: TiffPage, tags: _Directory) -> None:
    """Refuse a layout that costs more than the picture it holds.

    Libraries allocate a whole tile, however small the page, and keep one record per strip or tile.
    """
    across, down = _one(tags, _TILE_WIDTH, 16), _one(tags, _TILE_HEIGHT, 16)
    if min(across, down) < 16 or across * down > max(2**22, 4 * page.width * page.height):
        raise BrokenImage("the TIFF page has tiles out of proportion to its size")
    tiles = -(-page.width // across) * -(-page.height // down) * page.channels
    if _one(tags, TILES, 0) > tiles or _one(tags, STRIPS, 0) > page.height * page.channels:
        raise BrokenImage("the TIFF page has more strips or tiles than it has room for")


def _check_streams(data: bytes, layout: Layout, tags: _Directory) -> None:
    """Refuse a page with very many scans in a strip or tile, each of which is a JPEG stream."""
    places, sizes = (TILES, TILE_SIZES) if TILES in tags else (STRIPS, STRIP_SIZES)
    if not 0 < _one(tags, places, 0) == _one(tags, sizes, 0):
        raise BrokenImage("the TIFF page does not say how large its strips or tiles are")
    listed = _listed(data, layout, tags[sizes])
    # A reader guesses the size of what has none, and would read what was not looked at here.
    if min(listed, default=0) < 1 or sum(listed) > len(data):
        raise BrokenImage("the TIFF page has strips or tiles that overlap, or are of no size")
    for start, size in zip(_listed(data, layout, tags[places]), listed, strict=True):
        check_scans(data, start, start + size)


def _listed(data: bytes, layout: Layout, where: tuple[int, ...]) -> tuple[int, ...]:
    count, place, kind = where
    return struct.unpack_from(f"{layout.order}{count}{_FORMATS_OF_TYPES[kind]}", data, place)


def _one(tags: _Directory, tag: int, default: int) -> int:
    values = tags.get(tag, ())
    return values[0] if values else default


def _valid(orientation: int) -> int:
    return orientation if 1 <= orientation <= 8 else 1
