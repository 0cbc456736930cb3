"""Masks as COCO run lengths, straight from the label image.

One pass over the labels yields the runs of every instance together with its area, box and centroid;
no mask is ever drawn. The strings equal those of pycocotools byte for byte.

References
----------
cocodataset/cocoapi, ``common/maskApi.c``: column-major runs, the first of which counts zeros; six
bits a character from ``0`` on, five of them payload; from the fourth run on, the difference to the
run two before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from service.arrays import Bool, Float64, Int32, Int64
from service.domain import Rle
from service.masks import runs

MAX_PIXELS = 2**28
"""Masks larger than this are not decoded unless the caller asks for it."""


@dataclass(frozen=True, slots=True)
class Regions:
    """What one pass over a label image finds out about instances 1..K.

    Parameters
    ----------
    rles : list of Rle
        The masks.
    areas_px : (K,) int64
        Pixels; 0 where a label does not occur.
    boxes_xywh : (K, 4) int64
        COCO boxes; zeros where the area is 0.
    centroids_xy : (K, 2) float64
        Mean pixel positions; zeros where the area is 0.
    """

    rles: list[Rle]
    areas_px: Int64
    boxes_xywh: Int64
    centroids_xy: Float64


def encode_labels(labels: npt.NDArray[np.integer[Any]]) -> list[Rle]:
    """Encode every instance of a label image.

    Parameters
    ----------
    labels : (H, W) integer
        0 background, instances 1..K; H and W may be 0.

    Returns
    -------
    list of Rle
        K masks, in the order of their labels; a label that does not occur has an empty mask.

    Raises
    ------
    ValueError
        If `labels` is not two-dimensional, holds a negative label, or one above its pixel count.

    Notes
    -----
    Linear in the pixels, whatever K is. Extra memory is room for the strings twice over, and
    an eighth of the labels at most for runs: an image with more of them is read twice.

    Examples
    --------
    >>> encode_labels(np.array([[0, 1], [2, 1]]))
    [{'size': [2, 2], 'counts': '22'}, {'size': [2, 2], 'counts': '112'}]
    """
    return describe_labels(labels).rles


def describe_labels(labels: npt.NDArray[np.integer[Any]]) -> Regions:
    """Encode every instance and measure it in the same pass.

    Parameters
    ----------
    labels : (H, W) integer
        As for `encode_labels`, which see.

    Raises
    ------
    ValueError
        As `encode_labels` does.
    """
    if labels.ndim != 2:
        raise ValueError(f"a label image has two axes, not {labels.ndim}")
    image = np.ascontiguousarray(labels, dtype=np.int32)
    blocks = _Blocks(image)
    areas, boxes, sums, room = _measured(blocks, image)
    boxes[:, 2:] -= boxes[:, :2]
    height, width = image.shape
    return Regions(
        [
            {"size": [height, width], "counts": counts}
            for counts in _written(blocks, image.size, room)
        ],
        areas[1:],
        boxes[1:],
        sums[1:] / np.maximum(areas[1:, np.newaxis], 1),
    )


def _measured(blocks: _Blocks, image: Int32) -> tuple[Int64, Int64, Int64, Int64]:
    """Return area, corners and summed places of labels 0..K, and how long strings 1..K can be."""
    areas = np.zeros(1, np.int64)
    corners, sums = np.zeros((1, 4), np.int64), np.zeros((1, 2), np.int64)
    state = np.zeros((1, runs.STATE), np.int64)
    nothing = np.empty(0, np.uint8)
    for block in blocks:
        top = int(block.owners.max())
        if block.owners.min() < 0 or top > image.size:
            raise ValueError("labels must lie between 0 and the number of pixels")
        areas, corners, sums, state = (
            _with_rows(array, top + 1) for array in (areas, corners, sums, state)
        )
        runs.measure(block, image.shape[0], areas, corners, sums)
        if blocks.only is None:
            runs.write(block, state, nothing)
    if blocks.only is not None:  # so few runs that room for the longest costs less than counting
        return areas, corners, sums, runs.longest(blocks.only, len(state))[1:]
    runs.finish(state, image.size, nothing)
    return areas, corners, sums, state[1:, runs.CURSOR]


def _written(blocks: _Blocks, pixels: int, room: Int64) -> Iterator[str]:
    """Give the strings of labels 1..K, none of which is longer than its room."""
    begins = np.concatenate(([0], np.cumsum(room)))
    state = np.zeros((len(begins), runs.STATE), np.int64)
    state[1:, runs.CURSOR] = begins[:-1]
    text = np.empty(int(begins[-1]), np.uint8)
    for block in blocks:
        runs.write(block, state, text)
    runs.finish(state, pixels, text)
    # Of eight bits, as there may be bytes between the strings that nobody has written.
    strings = str(text.data, "latin-1")
    del text  # a third of the strings' room, while they are cut
    for begin, end in zip(begins[:-1].tolist(), state[1:, runs.CURSOR].tolist(), strict=True):
        yield strings[begin:end]


class _Blocks:
    """The runs of a label image, block after block, as often as asked; most have one, which stays.

    Noise has a run for each pixel: keeping them all would take twice the memory of the labels.
    """

    def __init__(self, image: Int32) -> None:
        self._image = image
        self.only: runs.Block | None = None

    def __iter__(self) -> Iterator[runs.Block]:
        height, width = self._image.shape
        if self.only is not None:
            yield self.only
            return
        left = 0 if height else width
        while left < width:
            block = runs.find(self._image, left, runs.room(height, width))
            if left == 0 and block.end == height * width:
                self.only = block
            left = block.end // height
            yield block


def _with_rows(array: Int64, rows: int) -> Int64:
    """Return the array with zeros appended until it has at least so many rows."""
    missing = rows - len(array)
    if missing <= 0:
        return array
    return np.concatenate((array, np.zeros((missing, *array.shape[1:]), np.int64)))


def decode(rle: Mapping[str, Any], *, max_pixels: int = MAX_PIXELS) -> Bool:
    """Draw a mask.

    Parameters
    ----------
    rle : mapping
        ``size`` ``[height, width]`` and ``counts``: str or bytes (compressed), or a list of runs.
    max_pixels : int
        Largest mask to draw.

    Returns
    -------
    (H, W) bool

    Raises
    ------
    ValueError
        If the runs are malformed, or do not add up to the stated size. Nothing is allocated at the
        stated size before that is known.
    """
    height, width = _size_of(rle)
    if height * width > max_pixels:
        raise ValueError(f"a mask of {height} x {width} exceeds {max_pixels} pixels")
    counts = _counts_of(rle, limit=height * width)
    flat = np.zeros(height * width, dtype=np.bool_)
    runs.paint(counts, flat)
    return np.ascontiguousarray(flat.reshape((width, height)).T)


def to_uncompressed(rle: Mapping[str, Any]) -> dict[str, list[int]]:
    """Return the same mask with its runs as a plain list.

    Parameters
    ----------
    rle : mapping
        As for `decode`.

    Raises
    ------
    ValueError
        If the runs are malformed, or do not add up to the stated size.

    Examples
    --------
    >>> to_uncompressed({"size": [2, 2], "counts": "112"})
    {'size': [2, 2], 'counts': [1, 1, 2]}
    """
    height, width = _size_of(rle)
    return {"size": [height, width], "counts": _counts_of(rle, limit=height * width).tolist()}


def _size_of(rle: Mapping[str, Any]) -> tuple[int, int]:
    size = rle.get("size")
    if (
        not isinstance(size, list | tuple)
        or len(size) != 2
        or not all(isinstance(side, int) and 0 <= side < 2**31 for side in size)
    ):
        raise ValueError("run lengths need a size of [height, width]")
    return int(size[0]), int(size[1])


def _counts_of(rle: Mapping[str, Any], *, limit: int) -> Int64:
    """Read the runs of either flavour; they must add up to `limit`."""
    raw = rle.get("counts")
    if isinstance(raw, str):
        if not raw.isascii():
            raise ValueError("compressed counts must be ASCII")
        raw = raw.encode("ascii")
    if isinstance(raw, bytes):
        counts, sound = runs.parse(np.frombuffer(raw, dtype=np.uint8), limit)
    else:
        sound = isinstance(raw, list) and all(type(run) is int and 0 <= run <= limit for run in raw)
        counts = np.array(raw if sound else [], dtype=np.int64)
    if not sound:
        raise ValueError("counts are no run lengths, or hold one that is longer than the mask")
    if int(counts.sum()) != limit:
        raise ValueError(f"the runs add up to {int(counts.sum())} pixels, the size to {limit}")
    return counts
