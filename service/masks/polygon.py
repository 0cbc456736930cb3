"""Outlines of instances as multipolygons with holes, along the edges of pixels.

Corner (x, y) is the upper left corner of pixel (x, y): a polygon covers exactly the squares of its
pixels, its area is their number, and drawing it at pixel centres gives the mask back.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from service.masks import outlines

Ring = list[list[int]]
Polygon = list[Ring]
MultiPolygon = list[Polygon]


def polygons_of_labels(labels: npt.NDArray[np.integer[Any]]) -> list[MultiPolygon]:
    """Return the outline of every instance as GeoJSON MultiPolygon coordinates.

    Parameters
    ----------
    labels : (H, W) integer
        0 background, instances 1..K.

    Returns
    -------
    list
        K multipolygons; of each, one polygon per 4-connected part, its outer ring first, then its
        holes; rings are closed, simple, and touch each other at corners only.

    Raises
    ------
    ValueError
        If `labels` is not two-dimensional.

    Examples
    --------
    >>> polygons_of_labels(np.array([[0, 1, 1]]))
    [[[[[1, 0], [3, 0], [3, 1], [1, 1], [1, 0]]]]]
    """
    if labels.ndim != 2:
        raise ValueError(f"a label image has two axes, not {labels.ndim}")
    image = np.ascontiguousarray(labels, dtype=np.int32)
    parts, owners = outlines.parts_of(image)
    corners, ends, ring_parts = outlines.trace(parts)
    shells: dict[int, Polygon] = {}
    points = corners.tolist()
    begin = 0
    for end, part in zip(ends.tolist(), ring_parts.tolist(), strict=True):
        for ring in _simple_rings(points[begin:end]):
            polygon = shells.setdefault(part, [[]])
            if _twice_area(ring) > 0:
                polygon[0] = ring
            else:
                polygon.append(ring)
        begin = end
    found: list[MultiPolygon] = [[] for _ in range(int(image.max(initial=0)))]
    for part, polygon in shells.items():
        found[owners[part] - 1].append(polygon)
    return found


def _simple_rings(corners: list[list[int]]) -> list[Ring]:
    """Cut a ring wherever it meets a corner for the second time; close the pieces."""
    rings: list[Ring] = []
    path: list[tuple[int, int]] = []
    place: dict[tuple[int, int], int] = {}
    for x, y in [*corners, corners[0]]:
        corner = (x, y)
        if corner in place:
            start = place[corner]
            rings.append([[*point] for point in [*path[start:], corner]])
            for point in path[start + 1 :]:
                del place[point]
            del path[start + 1 :]
        else:
            place[corner] = len(path)
            path.append(corner)
    return rings


def _twice_area(ring: Ring) -> int:
    """Return twice the area of a closed ring: positive for outer rings, negative for holes."""
    return sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in pairwise(ring))
