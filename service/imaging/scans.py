"""A bound on the scans of a JPEG stream, which also travels inside TIFF files."""

from __future__ import annotations

import re
from typing import Final

from service.errors import BrokenImage

MAX_SCANS: Final = 100
"""Encoders write about ten. Each scan, though it be a few bytes, is one pass over all pixels."""

_MARKER: Final = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""What ends or follows coded pixels: no stuffing, no restart."""

_EOI, _SOS = 0xD9, 0xDA


def check_scans(data: bytes, at: int, end: int) -> None:
    """Refuse a JPEG stream of very many scans.

    It is walked as decoders do: what stands in a segment, or after the end, is none.

    Parameters
    ----------
    data : bytes
        The file.
    at, end : int
        Where the stream begins, and ends at the latest.

    Raises
    ------
    BrokenImage
        If it has more than `MAX_SCANS` scans.
    """
    scans = 0
    while (found := _MARKER.search(data, at, end)) and data[found.end() - 1] != _EOI:
        scans += data[found.end() - 1] == _SOS
        if scans > MAX_SCANS:
            raise BrokenImage(f"the JPEG data has more than {MAX_SCANS} scans")
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
