"""How crops are cut and varied for training; evaluation takes images as they are.

NumPy and OpenCV only, one remap per crop: a 256 x 256 crop costs a few milliseconds.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from training.config.data import AugmentConfig
from training.data.dataset import IGNORE, Sample


def train_crop(
    sample: Sample, rng: np.random.Generator, config: AugmentConfig
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
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
    if rng.random() < config.warp:
        x, y = _warped_grid(rng, centre, config)
    else:
        x, y = _plain_grid(rng, centre, sample.labels.shape, config)
    image = cv2.remap(sample.image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    # float32 holds ids up to 2**24 exactly; OpenCV moves no 32-bit integers.
    moved = cv2.remap(
        sample.labels.astype(np.float32),
        np.rint(x),
        np.rint(y),
        cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(IGNORE,),
    )
    varied = vary_intensity(image.astype(np.float32), rng, config.intensity)
    if varied.ndim == 2:
        varied = np.repeat(varied[:, :, None], 3, axis=2)
    labels = moved.astype(np.int32)
    return np.ascontiguousarray(varied), consecutive(labels), sample.classes_at(labels)


def consecutive(labels: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Renumber instances to 1..K in ascending order of their ids; 0 and `IGNORE` stay.

    Examples
    --------
    >>> consecutive(np.array([[0, 7, 7], [-1, 3, 0]], dtype=np.int32)).tolist()
    [[0, 2, 2], [-1, 1, 0]]
    """
    counts = np.bincount(np.maximum(labels, 0).ravel())
    present = counts > 0
    present[0] = False
    table = np.zeros(counts.size, np.int32)
    table[present] = np.arange(1, int(present.sum()) + 1, dtype=np.int32)
    return np.where(labels > 0, table[np.maximum(labels, 0)], labels).astype(np.int32)


def vary_intensity(
    image: npt.NDArray[np.float32], rng: np.random.Generator, probability: float
) -> npt.NDArray[np.float32]:
    """Vary gamma, illumination, colour balance, sharpness and noise, within the image's range.

    Parameters
    ----------
    image : (H, W) or (H, W, 3) float32
        In 0..255.
    rng : Generator
        Source of chance.
    probability : float
        Of each change.
    """
    low, high = float(image.min()), float(image.max())
    span = max(high - low, 1.0)
    unit = (image - low) / span
    if rng.random() < probability:
        unit = np.power(unit, np.float32(np.exp(rng.uniform(-0.5, 0.5))))
    if rng.random() < probability:
        unit = unit * _illumination(rng, image.shape)
    if image.ndim == 3 and rng.random() < probability:
        unit = unit * rng.uniform(0.85, 1.15, 3).astype(np.float32)
    if rng.random() < probability:
        unit = cv2.GaussianBlur(unit, (0, 0), rng.uniform(0.4, 1.2))
    if rng.random() < probability:
        noise = rng.standard_normal(unit.shape, dtype=np.float32)
        unit = unit + np.float32(rng.uniform(0.005, 0.05)) * noise
    varied: npt.NDArray[np.float32] = np.clip(unit * span + low, 0, 255).astype(np.float32)
    return varied


def _centre(
    labels: npt.NDArray[np.int32], rng: np.random.Generator, config: AugmentConfig
) -> npt.NDArray[np.float64]:
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


def _plain_grid(
    rng: np.random.Generator,
    centre: npt.NDArray[np.float64],
    shape: tuple[int, ...],
    config: AugmentConfig,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Whole-pixel positions, turned by quarters and flipped: nothing is interpolated."""
    crop = (config.crop, config.width)
    corner = np.rint(centre - (np.array(crop) - 1) / 2)
    for axis in (0, 1):
        if shape[axis] <= crop[axis]:
            corner[axis] = -rng.integers(0, crop[axis] - shape[axis] + 1)
    rows, columns = (np.arange(side, dtype=np.float32) for side in crop)
    y, x = np.meshgrid(rows + corner[0], columns + corner[1], indexing="ij")
    if config.turn:
        turns = int(rng.integers(4))
        y, x = np.rot90(y, turns), np.rot90(x, turns)
    if rng.random() < 0.5:
        y, x = y[:, ::-1], x[:, ::-1]
    return np.ascontiguousarray(x, np.float32), np.ascontiguousarray(y, np.float32)


def _warped_grid(
    rng: np.random.Generator, centre: npt.NDArray[np.float64], config: AugmentConfig
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Positions after a change of scale, a rotation, a flip and elastic bending."""
    magnify = np.exp(rng.uniform(-1, 1) * np.log(config.scale))
    angle = rng.uniform(0, 2 * np.pi) if config.turn else 0.0
    flip = rng.choice([-1.0, 1.0])
    rows, columns = (
        (np.arange(side, dtype=np.float32) - (side - 1) / 2) / magnify
        for side in (config.crop, config.width)
    )
    v, u = np.meshgrid(rows, columns, indexing="ij")
    x = np.cos(angle) * u * flip - np.sin(angle) * v + centre[1]
    y = np.sin(angle) * u * flip + np.cos(angle) * v + centre[0]
    if config.elastic_px > 0:
        coarse = rng.normal(0, config.elastic_px, (2, 6, 6)).astype(np.float32)
        size = (config.width, config.crop)
        bend = [cv2.resize(c, size, interpolation=cv2.INTER_CUBIC) for c in coarse]
        x, y = x + bend[0], y + bend[1]
    return x.astype(np.float32), y.astype(np.float32)


def _illumination(rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    coarse = rng.uniform(0.7, 1.3, (3, 3)).astype(np.float32)
    field: npt.NDArray[np.float32] = cv2.resize(
        coarse, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR
    )
    return field if len(shape) == 2 else field[:, :, None]
