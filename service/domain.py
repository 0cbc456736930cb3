"""The records that cross rooms: frozen, plain, without behaviour beyond small conveniences.

Axes: E embedding, C classes, H W image, h w network output.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, Literal, TypedDict

import numpy.typing as npt

from service.arrays import Floats, UInt8

Method = Literal["discriminative", "associative", "metric_learning", "recurrent", "spatial"]
Stage = Literal["decode", "queue", "inference", "postprocess", "encode"]
STAGES: tuple[Stage, ...] = ("decode", "queue", "inference", "postprocess", "encode")

MAX_INSTANCES: Final = 65_535
"""Of an image: what a 16-bit label image can tell apart."""
TILE_PX: Final = 1024
"""Longest side that goes through the network at once, where nothing else is said."""
MIN_TILE_PX, MAX_TILE_PX = 128, 4096


class Priority(IntEnum):
    """What a call may overtake in the inference server's queue; the smaller goes first."""

    INTERACTIVE = 1
    BACKGROUND = 2


class Rle(TypedDict):
    """A mask as COCO run lengths, compressed; what pycocotools reads as it stands.

    `size` is ``[height, width]``; `counts` is the ASCII form of the column-major runs, the first of
    which counts zeros.
    """

    size: list[int]
    counts: str


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What an image may be at most; the defaults are those of the settings."""

    max_bytes: int = 32 * 2**20
    max_pixels: int = 100_000_000
    max_side_px: int = 32_768


@dataclass(frozen=True, slots=True)
class Plane:
    """What of an image file is segmented.

    Parameters
    ----------
    page : int
        Of a TIFF file, counted from 0.
    channel : int, optional
        The one channel that is taken, counted from 0, and shown as grey; None: all of them.
    """

    page: int = 0
    channel: int | None = None


FIRST_PAGE = Plane()


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An image as the network wants it, and what was done to get there.

    Parameters
    ----------
    pixels : (H, W, 3) uint8
        RGB, upright.
    format : str
        Name of the file format in lower case, such as ``"png"``.
    orientation_applied : bool
        True when EXIF asked for a turn or flip and it was carried out.
    source_bits : int
        Bits per channel in the file; above 8, `scaled_range` says what was mapped to 0..255.
    scaled_range : tuple of float, optional
        The two source values (about percentiles of the image) that became 0 and 255.
    frames : int
        Frames or pages in the file; only one is used.
    plane : Plane
        Which, and what of it.
    """

    pixels: UInt8
    format: str
    orientation_applied: bool = False
    source_bits: int = 8
    scaled_range: tuple[float, float] | None = None
    frames: int = 1
    plane: Plane = FIRST_PAGE

    @property
    def height(self) -> int:
        """Height in pixels, after orientation."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Width in pixels, after orientation."""
        return int(self.pixels.shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the network says about one image, at the size that went into it.

    Parameters
    ----------
    embedding : (E, h, w) float16 or float32
        Pixel vectors.
    foreground_logits : (C, h, w) float16 or float32
        One map per class, before the sigmoid.
    extras : mapping of str to array
        What a method adds, by tensor name (`service.signature`).
    """

    embedding: Floats
    foreground_logits: Floats
    extras: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Category:
    """A class of objects."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Instance:
    """One object found.

    Parameters
    ----------
    id : int
        1..K, in descending order of score; also its value in the label image.
    category : Category
        Its class.
    score : float
        In [0, 1]: how likely the instance is right.
    area_px : int
        Pixels in the mask.
    bbox_xywh : tuple of int
        COCO box ``(x, y, width, height)`` in pixels.
    centroid_xy : tuple of float
        Mean pixel position.
    rle : Rle
        The mask, at the size of the upright image.
    """

    id: int
    category: Category
    score: float
    area_px: int
    bbox_xywh: tuple[int, int, int, int]
    centroid_xy: tuple[float, float]
    rle: Rle


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock by which the answer must be out."""

    at_s: float
    allowed_s: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Count `seconds` from now."""
        return cls(at_s=time.monotonic() + seconds, allowed_s=seconds)

    def left_s(self) -> float:
        """Seconds left; negative when it has passed."""
        return self.at_s - time.monotonic()


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of one request went.

    Parameters
    ----------
    stages_s : mapping of Stage to float
        Seconds in each stage; every moment belongs to exactly one.
    total_s : float
        Their sum.
    """

    stages_s: Mapping[Stage, float]
    total_s: float
