"""Outlines as ImageJ reads them: one ROI per instance, in a zip for its ROI Manager.

References
----------
ImageJ, ``ij/io/RoiEncoder.java``: 64 bytes of header, the corners, 64 bytes that tell where the
name stands, the name, all big-endian. A region in one piece without holes is a polygon of 16-bit
corners; any other is a composite of path segments.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from typing import Final

from service.masks.polygon import MultiPolygon, Ring

_VERSION: Final = 227
_HEADER: Final = 64
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
            archive.writestr(entry, roi(outline, name), zipfile.ZIP_DEFLATED, 1)
    return file.getvalue()


def roi(outline: MultiPolygon, name: str) -> bytes:
    """Write one region as a ``.roi`` file.

    Parameters
    ----------
    outline : MultiPolygon
        At least one polygon.
    name : str
        What the ROI Manager calls it.
    """
    xs = [x for polygon in outline for x, _ in polygon[0]]
    ys = [y for polygon in outline for _, y in polygon[0]]
    left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    box = [min(side, _SHORT) for side in (top, left, bottom, right)]
    rings = [ring for polygon in outline for ring in polygon]
    corners = rings[0][:-1]  # closed by itself
    if len(rings) == 1 and len(corners) < 2**16 and max(right, bottom) <= _SHORT:
        relative = [x - left for x, _ in corners] + [y - top for _, y in corners]
        data = struct.pack(f">{len(relative)}h", *relative)
        return _file(_POLYGON, box, data, name, corners=len(corners))
    path = [value for ring in rings for value in _segments(ring)]
    data = struct.pack(f">{len(path)}f", *path)
    return _file(_COMPOSITE, box, data, name, floats=len(path))


def _file(
    kind: int, box: list[int], data: bytes, name: str, *, corners: int = 0, floats: int = 0
) -> bytes:
    """Put the parts together: header, data, second header, name."""
    second = _HEADER + len(data)
    header = struct.pack(
        ">4shBx4hH18xi20xi", b"Iout", _VERSION, kind, *box, corners, floats, second
    )
    text = name.encode("utf-16-be")
    return header + data + struct.pack(">16xii40x", second + _HEADER, len(name)) + text


def _segments(ring: Ring) -> list[float]:
    (x, y), *rest = ring[:-1]
    lines = [value for corner in rest for value in (_LINE, *corner)]
    return [_MOVE, x, y, *lines, _CLOSE]
