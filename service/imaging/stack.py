"""The pages of a file, each as a file of its own that holds nothing of the others.

So whatever takes an image takes a page, and a page costs what it measures, not what its stack does.
Only TIFF files have pages; any other file is its own and only one.

References
----------
TIFF revision 6.0, Adobe 1992, section 2; BigTIFF as libtiff documents it.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from typing import Final

from service.errors import BadParameter, BrokenImage, TooLarge
from service.imaging import tiff
from service.imaging.tiff import Buffer, Layout

_KEPT: Final = frozenset(
    {256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320}
    | {322, 323, 324, 325, 332, 338, 339, 347, 529, 530, 531, 532}
)
"""Tags that say how pixels are read; the others tell of the stack, or point at what stays there."""

_BYTES_OF_TYPES: Final = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8, 17: 8
}  # fmt: skip
_SHORT, _LONG, _LONG8 = 3, 4, 16
_FORMATS: Final = {_SHORT: "H", _LONG: "I", _LONG8: "Q"}
_MAX_PARTS: Final = 2**18
"""Strips or tiles of a page."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of a directory, with its values as they are stored."""

    tag: int
    kind: int
    count: int
    values: bytes

    def numbers(self, layout: Layout) -> tuple[int, ...]:
        """Return the values of a list of whole numbers."""
        if self.kind not in _FORMATS or self.count > _MAX_PARTS:
            raise BrokenImage("the TIFF page has strips or tiles out of proportion")
        return struct.unpack(f"{layout.order}{self.count}{_FORMATS[self.kind]}", self.values)


class Stack:
    """A file by its pages, of which none is read before it is asked for.

    Parameters
    ----------
    data : Buffer
        The file; whether it is an image is for whoever reads a page to say.

    Notes
    -----
    Where the chain of pages leads to nothing, that is a page too: one that is damaged. Else nobody
    would hear that a file ends in the middle.
    """

    def __init__(self, data: Buffer) -> None:
        self._data = data
        self._places: list[int] = []
        self._counted = True
        if data[:4] not in tiff.SIGNATURES:
            return
        try:
            self._layout, start = tiff.layout_of(data)
        except struct.error:
            return
        self._places, beyond = tiff.chain(data, self._layout, start)
        self._counted = not beyond or len(self._places) < tiff.MAX_PAGES
        if beyond and self._counted:
            self._places.append(beyond)

    def __len__(self) -> int:
        """Return how many pages there are, counted to a bound."""
        return max(1, len(self._places))

    def numbers(self) -> range:
        """Return the numbers of all pages.

        Raises
        ------
        TooLarge
            If there are more than `tiff.MAX_PAGES`.
        """
        if not self._counted:
            raise TooLarge(f"the file has more than {tiff.MAX_PAGES} pages", limit=tiff.MAX_PAGES)
        return range(len(self))

    @property
    def signature(self) -> bytes:
        """What the file begins with."""
        return self._data[:4]

    def label(self, number: int) -> str:
        """Return the number of a page as a name that sorts: all are equally long."""
        return f"{number:0{len(str(len(self) - 1))}}"

    def page(self, number: int) -> bytes:
        """Return a page as a file, which says of itself which it was, and of how many.

        Raises
        ------
        BadParameter
            If there is no such page.
        BrokenImage
            If it cannot be told from the rest of the file, or is not all there.
        """
        self._check(number)
        if len(self) == 1:
            return self._data[:]
        layout = self._layout
        place = struct.pack(layout.order + "HH", number, len(self))
        try:
            entries = _entries(self._data, layout, self._places[number])
            pixels = _pixels(self._data, layout, entries)
        except struct.error as error:
            raise BrokenImage("the page is truncated: its header ends too soon") from error
        kept = [entries[tag] for tag in sorted(entries.keys() & _KEPT)]
        kept.append(_Entry(tiff.PAGE_OF_STACK, _SHORT, 2, place))
        return _written(self._data[: layout.head_bytes], layout, kept, pixels)

    def _check(self, number: int) -> None:
        if number and self.signature not in tiff.SIGNATURES:
            raise BadParameter(
                f"page is {number}, but only TIFF files have pages; of others the first frame is "
                "read",
                parameter="page",
            )
        if not 0 <= number < len(self):
            raise BadParameter(
                f"page is {number}, but the pages of this file go from 0 to {len(self) - 1}",
                parameter="page",
            )


def _entries(data: Buffer, layout: Layout, start: int) -> dict[int, _Entry]:
    """Read what is kept of a directory."""
    (count,) = tiff.unpack(layout.count, data, start)
    if count > tiff.MAX_ENTRIES:
        raise BrokenImage(f"the TIFF directory has more than {tiff.MAX_ENTRIES} entries")
    found: dict[int, _Entry] = {}
    at = start + struct.calcsize(layout.count)
    for place in range(at, at + count * layout.entry_bytes, layout.entry_bytes):
        tag, kind, number = tiff.unpack(layout.entry, data, place)
        if tag in found:
            raise BrokenImage("the TIFF directory names a tag twice")
        if tag not in _KEPT or kind not in _BYTES_OF_TYPES:
            continue
        size, begin = number * _BYTES_OF_TYPES[kind], place + struct.calcsize(layout.entry)
        if size > struct.calcsize(layout.offset):
            (begin,) = tiff.unpack(layout.offset, data, begin)
        found[tag] = _Entry(tag, kind, number, _part(data, begin, size))
    return found


def _pixels(data: Buffer, layout: Layout, entries: dict[int, _Entry]) -> list[bytes]:
    """Return the strips or tiles of a page."""
    tiled = tiff.TILES in entries
    where, sizes = (tiff.TILES, tiff.TILE_SIZES) if tiled else (tiff.STRIPS, tiff.STRIP_SIZES)
    if where not in entries:
        raise BrokenImage("the TIFF page does not say where its pixels are")
    begins = entries[where].numbers(layout)
    if sizes in entries:
        listed = entries[sizes].numbers(layout)
    else:  # which was allowed once: they end where the file does
        listed = tuple(max(0, len(data) - begin) for begin in begins)
    if not 0 < len(begins) == len(listed) or sum(listed) > len(data):
        raise BrokenImage("the TIFF page has strips or tiles that overlap, or are of no size")
    return [_part(data, begin, size) for begin, size in zip(begins, listed, strict=True)]


def _part(data: Buffer, begin: int, size: int) -> bytes:
    part = data[begin : begin + size]
    if len(part) < size:
        raise BrokenImage("the page is truncated: the file ends before it does")
    return part


def _written(head: bytes, layout: Layout, entries: list[_Entry], pixels: list[bytes]) -> bytes:
    """Lay out a file: directory, what does not fit into it, strips or tiles."""
    width = struct.calcsize(layout.offset)
    begin = len(head) + width
    at = begin + struct.calcsize(layout.count) + len(entries) * layout.entry_bytes + width
    moved = {
        tag: _Entry(tag, _LONG8 if layout.big else _LONG, len(pixels), bytes(len(pixels) * width))
        for tag in (tiff.STRIPS, tiff.TILES)
    }
    entries = [moved.get(entry.tag, entry) for entry in entries]
    beyond = at + sum(len(entry.values) for entry in entries if len(entry.values) > width)
    places = itertools.accumulate(map(len, pixels[:-1]), initial=beyond)
    offsets = struct.pack(f"{layout.order}{len(pixels)}{layout.offset[-1]}", *places)
    directory, values = [struct.pack(layout.count, len(entries))], []
    for entry in entries:
        held = offsets if entry.tag in moved else entry.values
        directory.append(struct.pack(layout.entry, entry.tag, entry.kind, entry.count))
        if len(held) > width:
            values.append(held)
            held = struct.pack(layout.offset, at)
            at += len(values[-1])
        directory.append(held.ljust(width, b"\0"))
    directory.append(bytes(width))  # no page follows
    return b"".join([head, struct.pack(layout.offset, begin), *directory, *values, *pixels])
