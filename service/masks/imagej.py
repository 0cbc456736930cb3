"""Outlines as ImageJ reads them: one ROI per instance, in a zip for its ROI Manager.

References
----------
ImageJ, ``ij/io/RoiEncoder.java``: 64 bytes of header, then the corners, all big-endian. A region in
one piece without holes is a polygon of 16-bit corners; any other is a composite of path segments.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from typing import Final

from service.masks.polygon import MultiPolygon, Ring

_VERSION: Final = 227
_POLYGON, _COMPOSITE = 0, 1
_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0
_SHORT: Final = 2**15 - 1
_EARLIEST: Final = (1980, 1, 1, 0, 0, 0)
"""Date of every entry, so that the same regions give the same bytes."""


def roi_zip(outlines: Mapping[str, MultiPolygon]) -> bytes:
    """Write regions as a zip of ``.roi`` files.

    Parameters
    ----------
    outlines : mapping of str to MultiPolygon
        By name, as `service.masks.polygon` traces them; corners are pixel corners, which is
        ImageJ's own convention.
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, outline in outlines.items():
            entry = zipfile.ZipInfo(f"{name}.roi", _EARLIEST)
            archive.writestr(entry, roi(outline), zipfile.ZIP_DEFLATED, 1)
    return file.getvalue()


def roi(outline: MultiPolygon) -> bytes:
    """Write one region as a ``.roi`` file.

    Parameters
    ----------
    outline : MultiPolygon
        At least one polygon.
    """
    xs = [x for polygon in outline for x, _ in polygon[0]]
    ys = [y for polygon in outline for _, y in polygon[0]]
    left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    box = [min(side, _SHORT) for side in (top, left, bottom, right)]
    rings = [ring for polygon in outline for ring in polygon]
    corners = rings[0][:-1]  # closed by itself
    if len(rings) == 1 and len(corners) < 2**16 and max(right, bottom) <= _SHORT:
        relative = [x - left for x, _ in corners] + [y - top for _, y in corners]
        return _header(_POLYGON, box, corners=len(corners)) + struct.pack(
            f">{len(relative)}h", *relative
        )
    path = [value for ring in rings for value in _segments(ring)]
    return _header(_COMPOSITE, box, floats=len(path)) + struct.pack(f">{len(path)}f", *path)


def _header(kind: int, box: list[int], *, corners: int = 0, floats: int = 0) -> bytes:
    return struct.pack(">4shBx4hH16xhi24x", b"Iout", _VERSION, kind, *box, corners, 0, floats)


def _segments(ring: Ring) -> list[float]:
    (x, y), *rest = ring[:-1]
    lines = [value for corner in rest for value in (_LINE, *corner)]
    return [_MOVE, x, y, *lines, _CLOSE]
