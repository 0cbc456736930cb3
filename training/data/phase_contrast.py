"""Drawn fields of spindle-shaped cells, dark with a bright halo, as phase contrast shows them.

Everything follows from a seed: the same arguments give the same picture, byte for byte.
"""

from __future__ import annotations

import cv2
import numpy as np

from service.arrays import Int32, UInt8

_GREY = 98.0
"""Of the ground."""


def draw_cells(
    rng: np.random.Generator, *, height: int, width: int, cells: int, length_px: float = 64.0
) -> tuple[UInt8, Int32]:
    """Draw one field of cells that lie apart.

    Parameters
    ----------
    rng : Generator
        Source of chance.
    height, width : int
        Size in pixels.
    cells : int
        How many are tried; those that find no room are left out.
    length_px : float
        Mean length; they are a quarter as wide.

    Returns
    -------
    image : (height, width) uint8
        Grey.
    labels : (height, width) int32
        Instances 1..K.
    """
    labels = np.zeros((height, width), np.int32)
    placed = 0
    for _ in range(20 * cells):
        canvas = np.zeros(labels.shape, np.uint8)
        cv2.fillPoly(canvas, [_spindle(rng, height, width, length_px)], 1)
        room = cv2.dilate(canvas, np.ones((9, 9), np.uint8)) > 0
        if placed < cells and not labels[room].any():
            placed += 1
            labels[canvas > 0] = placed
    body = (labels > 0).astype(np.float32)
    near, far = (cv2.GaussianBlur(body, (0, 0), px) for px in (1.0, 4.0))
    halo = np.maximum(far - near, 0)
    grain = cv2.GaussianBlur(rng.normal(0, 1, labels.shape), (0, 0), 1.5)
    shade = _GREY - 62 * near + 240 * halo + 45 * grain * near + rng.normal(0, 2, labels.shape)
    return np.clip(np.rint(shade), 0, 255).astype(np.uint8), labels


def _spindle(rng: np.random.Generator, height: int, width: int, length_px: float) -> Int32:
    """Give the outline of a bent body that narrows towards both ends, (2 * N, 2) x and y."""
    length, turn = length_px * rng.uniform(0.8, 1.3), rng.uniform(0, np.pi)
    along = np.linspace(-0.5, 0.5, 24)
    bend = rng.uniform(-0.15, 0.15) * length * (4 * along**2 - 1)
    half = 0.125 * length * np.cos(np.pi * along) ** 0.7 + 1.0
    x = np.concatenate([along, along[::-1]]) * length
    y = np.concatenate([bend + half, (bend - half)[::-1]])
    centre = rng.uniform([0, 0], [width, height])
    turned = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], 1)
    return np.rint(turned + centre).astype(np.int32)
