"""A bound on the scans of a JPEG stream, which also travels inside TIFF files."""

from __future__ import annotations

from typing import Final

from service.errors import BrokenImage

MAX_SCANS: Final = 100
"""Encoders write about ten. Each scan, though it be a few bytes, is one pass over all pixels."""


def check_scans(data: bytes) -> None:
    """Refuse a JPEG stream of very many scans.

    Raises
    ------
    BrokenImage
        If more than `MAX_SCANS` scans begin in `data`, those of embedded previews included.
    """
    if data.count(b"\xff\xda") > MAX_SCANS:
        raise BrokenImage(f"the JPEG data has more than {MAX_SCANS} scans")
