"""Images larger than the network takes at once: overlapping tiles, joined by what they share.

Embeddings mean something within one forward pass only, so tiles are decoded on their own and their
instances joined by overlap, never by comparing vectors. In the strip that two tiles share, each
pixel is read from the tile in which it lies farther from the edge; two instances are one when they
cover the same pixels there.

Axes: H W image, h w tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from service.arrays import Int32
from service.postprocess.labelled import Labelled
from service.postprocess.regions import names_in, rename

MIN_IOU = 0.5
"""Intersection over union, within the shared strip, from which two instances are one."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A window of the image, and the part of it that the result is read from.

    Parameters
    ----------
    top, left, height, width : int
        The window, in pixels of the image.
    core_top, core_left, core_height, core_width : int
        Its own part: the cores of all tiles cover the image, and no pixel twice.
    """

    top: int
    left: int
    height: int
    width: int
    core_top: int
    core_left: int
    core_height: int
    core_width: int

    @property
    def window(self) -> tuple[slice, slice]:
        """The window as an index into the image."""
        return (
            slice(self.top, self.top + self.height),
            slice(self.left, self.left + self.width),
        )


def plan_tiles(height: int, width: int, tile: int, overlap: int) -> list[Tile]:
    """Cover an image with tiles in raster order.

    Parameters
    ----------
    height, width : int
        Of the image, in pixels.
    tile : int
        Longest side of a tile.
    overlap : int
        Pixels that neighbours share at least; wider than the largest object and the network's
        field of view, no seam shows.

    Returns
    -------
    list of Tile
        All of one size, unless the image is smaller than a tile; a core ends in the middle of the
        strip that two tiles share.

    Raises
    ------
    ValueError
        If the overlap is negative or at least the tile.

    Examples
    --------
    >>> [(t.left, t.core_left, t.core_width) for t in plan_tiles(8, 20, tile=12, overlap=4)]
    [(0, 0, 10), (8, 10, 10)]
    """
    if not 0 <= overlap < tile:
        raise ValueError(f"an overlap of {overlap} does not fit tiles of {tile} pixels")
    rows, columns = _cuts(height, tile, overlap), _cuts(width, tile, overlap)
    return [
        Tile(top, left, tall, wide, core_top, core_left, core_tall, core_wide)
        for top, tall, core_top, core_tall in rows
        for left, wide, core_left, core_wide in columns
    ]


def _cuts(length: int, tile: int, overlap: int) -> list[tuple[int, int, int, int]]:
    """Return start and length of each window along one axis, then of its core."""
    if length <= tile:
        return [(0, length, 0, length)]
    count = -(-(length - overlap) // (tile - overlap))
    starts = [i * (length - tile) // (count - 1) for i in range(count)]
    middles = [(before + tile + after) // 2 for before, after in pairwise(starts)]
    edges = [0, *middles, length]
    return [(start, tile, edges[i], edges[i + 1] - edges[i]) for i, start in enumerate(starts)]


class Stitcher:
    """Joins label images of tiles into that of the image.

    Parameters
    ----------
    height, width : int
        Of the image, in pixels.
    tiles : list of Tile
        From `plan_tiles`; tiles are to be added in this order.

    Notes
    -----
    Holds the label image, and of every tile only the strips that later tiles share. Two instances
    are joined when their intersection over union within the strip reaches `MIN_IOU`; an instance
    whose fellow is missing in the other tile keeps what lies in its own core.
    """

    def __init__(self, height: int, width: int, tiles: list[Tile]) -> None:
        self._labels = np.zeros((height, width), np.int32)
        self._waiting = list(reversed(tiles))
        self._strips: dict[Tile, list[tuple[Tile, Int32]]] = {}  # by the tile that is to come
        self._parent: list[int] = [0]
        self._scores: list[float] = [0.0]
        self._classes: list[int] = [0]

    def add(self, tile: Tile, part: Labelled) -> None:
        """Take in the next tile.

        Parameters
        ----------
        tile : Tile
            The next of the plan.
        part : Labelled
            Its instances, labels (h, w); only those of one class are joined.

        Raises
        ------
        ValueError
            If it is another tile's turn, or the labels do not have the tile's size.
        """
        planned = self._waiting[-1:] == [tile] and part.labels.shape == (tile.height, tile.width)
        if not planned:
            raise ValueError("tiles must be added in the order of the plan, at their planned size")
        self._waiting.pop()
        offset = len(self._parent) - 1
        numbered = np.where(part.labels > 0, part.labels + np.int32(offset), np.int32(0))
        self._parent.extend(range(offset + 1, offset + 1 + part.scores.size))
        self._scores.extend(part.scores.tolist())
        self._classes.extend(part.classes.tolist())
        for earlier, strip in self._strips.pop(tile, ()):
            self._join(strip, _shared(tile, earlier, numbered))
        for later in reversed(self._waiting):
            if later.top >= tile.top + tile.height:  # as are all that follow
                break
            strip = _shared(tile, later, numbered)
            if strip.size:
                self._strips.setdefault(later, []).append((tile, strip.copy()))
        y, x = tile.core_top, tile.core_left
        core = numbered[
            y - tile.top : y - tile.top + tile.core_height,
            x - tile.left : x - tile.left + tile.core_width,
        ]
        self._labels[y : y + tile.core_height, x : x + tile.core_width] = core

    def result(self) -> Labelled:
        """Return the instances of the image; call it once.

        An instance of several tiles has the mean score of its parts, weighted by their pixels.

        Raises
        ------
        ValueError
            If a tile of the plan is missing.
        """
        if self._waiting:
            raise ValueError(f"{len(self._waiting)} tiles are missing")
        roots = np.array([self._root(k) for k in range(len(self._parent))], np.int64)
        areas = np.bincount(self._labels.ravel(), minlength=roots.size).astype(np.float64)
        areas[0] = 0.0
        whole = np.bincount(roots, weights=areas, minlength=roots.size)
        summed = np.bincount(roots, weights=areas * np.array(self._scores), minlength=roots.size)
        present = np.flatnonzero(whole > 0.0)
        rename(self._labels, names_in(present - 1, roots.size - 1)[roots])
        scores = summed[present] / whole[present]
        return Labelled(self._labels, scores, np.array(self._classes, np.int64)[present])

    def _root(self, k: int) -> int:
        while self._parent[k] != k:
            self._parent[k] = self._parent[self._parent[k]]
            k = self._parent[k]
        return k

    def _join(self, first: Int32, second: Int32) -> None:
        """Join the instances of two views of one strip that are the same."""
        mine, areas = np.unique(first, return_counts=True)
        theirs, other_areas = np.unique(second, return_counts=True)
        area = dict(zip(mine.tolist(), areas.tolist(), strict=True))
        area.update(zip(theirs.tolist(), other_areas.tolist(), strict=True))
        both = (first > 0) & (second > 0)
        pairs, shared = np.unique(np.stack([first[both], second[both]]), axis=1, return_counts=True)
        for a, b, n in zip(*pairs.tolist(), shared.tolist(), strict=True):
            if self._classes[a] == self._classes[b] and n >= MIN_IOU * (area[a] + area[b] - n):
                low, high = sorted((self._root(a), self._root(b)))
                self._parent[high] = low


def _shared(tile: Tile, other: Tile, labels: Int32) -> Int32:
    """Return the part of a tile's labels that lies in the other's window; it may be empty."""
    rows = slice(max(other.top - tile.top, 0), max(other.top + other.height - tile.top, 0))
    columns = slice(max(other.left - tile.left, 0), max(other.left + other.width - tile.left, 0))
    return labels[rows, columns]
