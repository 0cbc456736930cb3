"""A bound on the scans of a JPEG stream, which also travels inside TIFF files."""

from __future__ import annotations

import re
from typing import Final

from service.errors import BrokenImage

MAX_SCANS: Final = 100
"""Encoders write about ten. Each scan, though it be a few bytes, is one pass over all pixels."""

MAX_SEGMENTS: Final = 4096
"""The largest colour profile takes 255 of them, real files a few dozen."""

_MARKER: Final = re.compile(rb"\xff[^\x00-\xbf\xd0-\xd8\xff]")
"""What a segment follows: neither stuffing nor a restart, nor what is undefined: decoders pass over
those, and read on behind them."""

_EOI, _SOS = 0xD9, 0xDA


def check_scans(data: bytes, at: int, end: int) -> None:
    """Refuse a JPEG stream of very many scans or segments.

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
        If it has more than `MAX_SCANS` scans, or more than `MAX_SEGMENTS` segments.
    """
    scans = 0
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.search(data, at, end)
        if found is None or data[found.end() - 1] == _EOI:
            return
        scans += data[found.end() - 1] == _SOS
        if scans > MAX_SCANS:
            raise BrokenImage(f"the JPEG data has more than {MAX_SCANS} scans")
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    raise BrokenImage(f"the JPEG data has more than {MAX_SEGMENTS} segments")
