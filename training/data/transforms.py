"""How crops are cut and varied for training; evaluation takes images as they are.

NumPy and OpenCV only: a 256 x 256 crop costs one or two milliseconds.
"""

from __future__ import annotations

import cv2
import numpy as np

from service.arrays import Float32, Float64, Int32, UInt8
from training.config.data import AugmentConfig
from training.data.dataset import IGNORE, Sample
from training.data.degradations import degrade_at_random

_Cut = tuple[UInt8, Int32]
"""Image (crop, width) or (crop, width, 3), and labels (crop, width), before they are varied."""


def train_crop(
    sample: Sample, rng: np.random.Generator, config: AugmentConfig
) -> tuple[Float32, Int32, Int32]:
    """Cut a crop and vary it.

    Parameters
    ----------
    sample : Sample
        Where to cut.
    rng : Generator
        Source of chance.
    config : AugmentConfig
        Size and probabilities.

    Returns
    -------
    image : (crop, width, 3) float32
        In 0..255.
    labels : (crop, width) int32
        Consecutive; pixels beyond the image's edge (mirrored in the picture) are `IGNORE`.
    classes : (crop, width) int32
        0 background, 1..C the class of the instance there.
    """
    centre = _centre(sample.labels, rng, config)
    cut = _warped if rng.random() < config.warp else _plain
    image, labels = cut(sample, rng, centre, config)
    varied = vary_intensity(image, rng, config.intensity)
    if rng.random() < config.degrade:
        varied, labels = degrade_at_random(varied, labels, rng)
    if varied.ndim == 2:
        varied = np.asarray(cv2.merge([varied] * 3), np.float32)
    return varied, consecutive(labels), sample.classes_at(labels)


def consecutive(labels: Int32) -> Int32:
    """Renumber instances to 1..K in ascending order of their ids; 0 and `IGNORE` stay.

    Examples
    --------
    >>> consecutive(np.array([[0, 7, 7], [-1, 3, 0]], dtype=np.int32)).tolist()
    [[0, 2, 2], [-1, 1, 0]]
    """
    places = np.subtract(labels, IGNORE, dtype=np.intp)
    present = np.bincount(places.ravel(), minlength=2) > 0
    table: Int32 = np.cumsum(present, dtype=np.int32) - present[:2].sum(dtype=np.int32)
    table[:2] = IGNORE, 0
    return table.take(places)


def vary_intensity(image: UInt8, rng: np.random.Generator, probability: float) -> Float32:
    """Vary gamma, illumination, colour balance, sharpness and noise, within the image's range.

    Parameters
    ----------
    image : (H, W) or (H, W, 3) uint8
        Grey or RGB.
    rng : Generator
        Source of chance.
    probability : float
        Of each change.

    Returns
    -------
    (H, W) or (H, W, 3) float32
        In 0..255.
    """
    low, high = float(image.min()), float(image.max())
    span = max(high - low, 1.0)
    # What maps single values is worked out once for each of the 256, then looked up.
    levels = (np.arange(256, dtype=np.float32) - low).clip(0) / span
    if rng.random() < probability:
        levels = np.power(levels, np.float32(np.exp(rng.uniform(-0.5, 0.5))))
    unit = np.asarray(cv2.LUT(image, levels), np.float32)
    if rng.random() < probability:
        unit *= _illumination(rng, image.shape)
    if image.ndim == 3 and rng.random() < probability:
        unit *= np.tile(rng.uniform(0.85, 1.15, 3).astype(np.float32), (image.shape[1], 1))
    if rng.random() < probability:
        unit = np.asarray(cv2.GaussianBlur(unit, (0, 0), rng.uniform(0.4, 1.2)), np.float32)
    if rng.random() < probability:
        noise = rng.standard_normal(unit.shape, dtype=np.float32)
        noise *= np.float32(rng.uniform(0.005, 0.05))
        unit += noise
    unit *= span
    unit += low
    return np.clip(unit, 0, 255, out=unit)


def _centre(labels: Int32, rng: np.random.Generator, config: AugmentConfig) -> Float64:
    height, width = labels.shape
    half = np.array([config.crop, config.width]) / 2
    centre = rng.uniform(0, 1, 2) * [height, width]
    if rng.random() < config.instance_crop:
        # A random pixel that belongs to an instance: a few draws find one without a scan.
        for _ in range(8):
            y, x = int(rng.integers(height)), int(rng.integers(width))
            if labels[y, x] > 0:
                centre = np.array([y, x]) + rng.uniform(-half / 2, half / 2, 2)
                break
    inside = np.maximum(np.array([height, width]) - half, half)
    return np.clip(centre, half, inside) - 0.5


def _plain(
    sample: Sample,
    rng: np.random.Generator,
    centre: Float64,
    config: AugmentConfig,
) -> _Cut:
    """Cut at whole pixels, turn by quarters and flip: nothing is interpolated."""
    crop, shape = (config.crop, config.width), sample.labels.shape
    top, left = np.rint(centre - (np.array(crop) - 1) / 2).astype(int).tolist()
    if shape[0] <= crop[0]:
        top = -int(rng.integers(0, crop[0] - shape[0] + 1))
    if shape[1] <= crop[1]:
        left = -int(rng.integers(0, crop[1] - shape[1] + 1))
    inside = np.s_[max(top, 0) : top + crop[0], max(left, 0) : left + crop[1]]
    above, before = max(-top, 0), max(-left, 0)
    below = max(top + crop[0] - shape[0], 0)
    after = max(left + crop[1] - shape[1], 0)
    margins = (above, below, before, after)
    # An image that a crop reaches beyond lies within it whole: its own edges are mirrored.
    image = cv2.copyMakeBorder(sample.image[inside], *margins, cv2.BORDER_REFLECT_101)
    labels = cv2.copyMakeBorder(
        sample.labels[inside], *margins, cv2.BORDER_CONSTANT, value=(IGNORE,)
    )
    turns = int(rng.integers(4)) if config.turn else 0
    across = -1 if rng.random() < 0.5 else 1
    return (
        np.ascontiguousarray(np.rot90(image, turns)[:, ::across], np.uint8),
        np.ascontiguousarray(np.rot90(labels, turns)[:, ::across], np.int32),
    )


def _warped(
    sample: Sample,
    rng: np.random.Generator,
    centre: Float64,
    config: AugmentConfig,
) -> _Cut:
    """Cut along bent lines, which interpolates."""
    x, y = _warped_grid(rng, centre, config)
    image = cv2.remap(sample.image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    x, y = np.rint(x), np.rint(y)
    rows, columns = (
        _span(places, size) for places, size in zip((y, x), sample.labels.shape, strict=True)
    )
    labels = cv2.remap(
        # float32 holds ids up to 2**24 exactly; OpenCV moves no 32-bit integers.
        sample.labels[rows, columns].astype(np.float32),
        x - columns.start,
        y - rows.start,
        cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(IGNORE,),
    )
    return np.asarray(image, np.uint8), labels.astype(np.int32)


def _span(places: Float32, size: int) -> slice:
    """Find the part of an axis that whole-pixel places lie in, at least one pixel of it."""
    first = min(max(int(places.min()), 0), size - 1)
    return slice(first, min(max(int(places.max()) + 1, first + 1), size))


def _warped_grid(
    rng: np.random.Generator, centre: Float64, config: AugmentConfig
) -> tuple[Float32, Float32]:
    """Positions after a change of scale, a rotation, a flip and elastic bending."""
    magnify = np.exp(rng.uniform(-1, 1) * np.log(config.scale))
    angle = rng.uniform(0, 2 * np.pi) if config.turn else 0.0
    flip = rng.choice([-1.0, 1.0])
    v, u = (
        (np.arange(side, dtype=np.float32) - (side - 1) / 2) / magnify
        for side in (config.crop, config.width)
    )
    x = np.cos(angle) * u * flip - (np.sin(angle) * v)[:, None]
    y = np.sin(angle) * u * flip + (np.cos(angle) * v)[:, None]
    x += centre[1]
    y += centre[0]
    if config.elastic_px > 0:
        coarse = rng.normal(0, config.elastic_px, (2, 6, 6)).astype(np.float32)
        size = (config.width, config.crop)
        bend = [cv2.resize(c, size, interpolation=cv2.INTER_CUBIC) for c in coarse]
        x += bend[0]
        y += bend[1]
    return x.astype(np.float32), y.astype(np.float32)


def _illumination(rng: np.random.Generator, shape: tuple[int, ...]) -> Float32:
    coarse = rng.uniform(0.7, 1.3, (3, 3)).astype(np.float32)
    field: Float32 = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return field if len(shape) == 2 else np.asarray(cv2.merge([field] * 3), np.float32)
