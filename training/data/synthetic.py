"""Drawn scenes with exact masks: scattered sticks, and fluorescence-like fields of nuclei.

Everything follows from a seed: the same arguments give the same picture, byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from service.arrays import Bool, Float32, Int32, Int64, UInt8
from training.data.dataset import Sample

_VISIBLE_STICK_SHARE = 0.3
"""A scene is drawn again when less of a stick than this stays visible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SticksDataset:
    """Thin outlined sticks on white paper, crossing like swords; later ones occlude earlier ones.

    After section 3.3 of arXiv:1708.02551: an occluded stick falls into pieces that keep one id, and
    boxes overlap almost fully.

    Parameters
    ----------
    count : int
        Number of images.
    seed : int
        Of the series.
    size : int
        Side of an image in pixels.
    min_objects, max_objects : int
        Range of the number of sticks.
    """

    count: int
    seed: int = 0
    size: int = 256
    min_objects: int = 4
    max_objects: int = 12

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng([self.seed, index])
        sticks = int(rng.integers(self.min_objects, self.max_objects + 1))
        image, labels = draw_sticks(rng, size=self.size, sticks=sticks)
        return Sample(f"sticks-{self.seed}-{index}", image, labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class NucleiDataset:
    """Fluorescence-like fields of touching nuclei: blur, uneven light, noise.

    Parameters
    ----------
    count : int
        Number of images.
    seed : int
        Of the series.
    size : int
        Side of an image in pixels.
    min_objects, max_objects : int
        Range of the number of nuclei.
    radius_px : float
        Mean radius.
    """

    count: int
    seed: int = 0
    size: int = 256
    min_objects: int = 10
    max_objects: int = 60
    radius_px: float = 11.0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng([self.seed, index])
        nuclei = int(rng.integers(self.min_objects, self.max_objects + 1))
        image, labels = draw_nuclei(
            rng, height=self.size, width=self.size, nuclei=nuclei, radius_px=self.radius_px
        )
        return Sample(f"nuclei-{self.seed}-{index}", image, labels)


def draw_sticks(rng: np.random.Generator, *, size: int, sticks: int) -> tuple[UInt8, Int32]:
    """Draw one scene of sticks.

    Parameters
    ----------
    rng : Generator
        Source of chance.
    size : int
        Side in pixels; sticks are 0.25 to 0.5 of it long and 0.04 to 0.07 of it wide.
    sticks : int
        How many; 0 gives an empty sheet.

    Returns
    -------
    image : (size, size) uint8
        Grey.
    labels : (size, size) int32
        Instances 1..sticks in the order of drawing.

    Notes
    -----
    A scene in which a stick disappears is drawn again, at most 50 times; after that the hidden
    sticks are left out, so that crowded scenes end as well.
    """
    for _ in range(50):
        image, labels, full = _try_sticks(rng, size=size, sticks=sticks)
        seen = np.bincount(labels.ravel(), minlength=sticks + 1)[1:]
        if np.all(seen >= _VISIBLE_STICK_SHARE * full):
            break
    return image, _consecutive(labels)


def draw_nuclei(
    rng: np.random.Generator, *, height: int, width: int, nuclei: int, radius_px: float
) -> tuple[UInt8, Int32]:
    """Draw one field of nuclei as a fluorescence microscope would show it.

    Parameters
    ----------
    rng : Generator
        Source of chance.
    height, width : int
        Size in pixels.
    nuclei : int
        How many are tried; those that find no room are left out.
    radius_px : float
        Mean radius.

    Returns
    -------
    image : (height, width) uint8
        Grey, dark background.
    labels : (height, width) int32
        Instances 1..K; they touch, but do not overlap.
    """
    labels = np.zeros((height, width), np.int32)
    light = np.zeros((height, width), np.float32)
    texture = _smooth_noise(rng, height, width, radius_px / 3)
    placed = 0
    for _ in range(nuclei):
        mask = _nucleus(rng, labels, radius_px)
        if mask is None:
            continue
        placed += 1
        labels[mask] = placed
        light[mask] = rng.uniform(0.35, 1.0) * (1 + 0.25 * texture[mask])
    return _photograph(rng, light, radius_px), labels


def _try_sticks(rng: np.random.Generator, *, size: int, sticks: int) -> tuple[UInt8, Int32, Int64]:
    image = np.full((size, size), 255, np.uint8)
    labels = np.zeros((size, size), np.int32)
    full = np.zeros(sticks, np.int64)
    for stick in range(sticks):
        length, width = rng.uniform(0.25, 0.5) * size, rng.uniform(0.04, 0.07) * size
        centre = rng.uniform(0.15 * size, 0.85 * size, 2)
        box = cv2.boxPoints((tuple(centre), (length, width), rng.uniform(0, 180)))
        corners = np.round(box).astype(np.int32)
        canvas = np.zeros((size, size), np.uint8)
        cv2.fillPoly(canvas, [corners], 1)
        labels[canvas > 0] = stick + 1
        full[stick] = int(canvas.sum())
        cv2.fillPoly(image, [corners], 255)
        cv2.polylines(image, [corners], isClosed=True, color=0, thickness=max(1, size // 128))
        # The pen is centred on the outline: what it paints outside belongs to the stick too.
        cv2.polylines(canvas, [corners], isClosed=True, color=1, thickness=max(1, size // 128))
        labels[canvas > 0] = stick + 1
    return image, labels, full


def _consecutive(labels: Int32) -> Int32:
    _, inverse = np.unique(np.append(labels.ravel(), 0), return_inverse=True)
    return inverse[:-1].reshape(labels.shape).astype(np.int32)


def _nucleus(rng: np.random.Generator, labels: Int32, radius_px: float) -> Bool | None:
    """Find room for a wobbly ellipse; half of them lean on a nucleus that is already there."""
    height, width = labels.shape
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    for _ in range(20):
        radius = radius_px * rng.uniform(0.7, 1.3)
        centre = rng.uniform([0, 0], [width, height])
        if labels.any() and rng.random() < 0.5:
            neighbour = int(rng.integers(1, labels.max() + 1))
            ys, xs = np.nonzero(labels == neighbour)
            turn = rng.uniform(0, 2 * np.pi)
            reach = np.sqrt(xs.size / np.pi) + 0.8 * radius
            centre = np.array([xs.mean() + reach * np.cos(turn), ys.mean() + reach * np.sin(turn)])
        wobble = 1 + 0.08 * np.cos(2 * angles + rng.uniform(0, 6)) * rng.uniform(0, 1)
        wobble += 0.05 * np.cos(3 * angles + rng.uniform(0, 6))
        stretch, turn = rng.uniform(0.75, 1.0), rng.uniform(0, np.pi)
        x, y = radius * wobble * np.cos(angles), radius * stretch * wobble * np.sin(angles)
        outline = np.stack(
            [x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=1
        )
        canvas = np.zeros(labels.shape, np.uint8)
        cv2.fillPoly(canvas, [np.round(outline + centre).astype(np.int32)], 1)
        mask: Bool = canvas > 0
        free: Bool = mask & (labels == 0)
        if mask.sum() > 12 and free.sum() > 0.85 * mask.sum() and _in_one_piece(free):
            return free
    return None


def _in_one_piece(mask: Bool) -> bool:
    return int(cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[0]) == 2


def _photograph(rng: np.random.Generator, light: Float32, radius_px: float) -> UInt8:
    """Add the optics: point spread, glow, uneven illumination, shot and read noise."""
    height, width = light.shape
    sharp = cv2.GaussianBlur(light, (0, 0), radius_px * rng.uniform(0.06, 0.12))
    glow = cv2.GaussianBlur(light, (0, 0), radius_px)
    field = 1 + 0.3 * _smooth_noise(rng, height, width, max(height, width) / 3)
    photons = (0.9 * sharp + 0.1 * glow + 0.04) * field * rng.uniform(60, 200)
    noisy = rng.poisson(np.maximum(photons, 0)) + rng.normal(0, 1.5, light.shape)
    image: UInt8 = np.clip(noisy, 0, 255).astype(np.uint8)
    return image


def _smooth_noise(rng: np.random.Generator, height: int, width: int, length_px: float) -> Float32:
    """Noise in [-1, 1] whose bumps are about `length_px` wide."""
    rows, columns = int(height / length_px) + 2, int(width / length_px) + 2
    coarse = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
    smooth: Float32 = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return smooth
