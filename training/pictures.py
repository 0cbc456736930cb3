"""Pictures for people: outlines over images, embeddings as colour, sheets of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from training.decoding import as_rgb

Picture = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""


def stretch(image: npt.NDArray[np.uint8]) -> Picture:
    """Show an image at full contrast: dark fluorescence is black to the eye otherwise."""
    rgb = as_rgb(image).astype(np.float32)
    low, high = np.percentile(rgb, (1, 99.8))
    shown: Picture = np.clip((rgb - low) / max(high - low, 4) * 255, 0, 255).astype(np.uint8)
    return shown


def colours(labels: npt.NDArray[np.int32]) -> Picture:
    """Give every instance a colour that its neighbours in number do not have."""
    hue = (labels.astype(np.int64) * 67 % 180).astype(np.uint8)
    value = np.where(labels > 0, 230, 0).astype(np.uint8)
    hsv = np.stack([hue, np.full_like(hue, 200), value], axis=2)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)


def outlines(image: npt.NDArray[np.uint8], labels: npt.NDArray[np.int32]) -> Picture:
    """Draw the border of every instance over the image."""
    picture = stretch(image)
    ids = labels.astype(np.float32)
    window = np.ones((3, 3), np.uint8)
    border = (cv2.dilate(ids, window) != cv2.erode(ids, window)) & (labels > 0)
    picture[border] = colours(labels)[border]
    return picture


def principal_components(embedding: npt.NDArray[Any], foreground: npt.NDArray[np.bool_]) -> Picture:
    """Show the three directions in which the foreground's vectors differ most, as colour.

    Parameters
    ----------
    embedding : (E, h, w) float
        Pixel vectors.
    foreground : (h, w) bool
        Pixels to show; the rest is black.
    """
    picture = np.zeros((*foreground.shape, 3), np.uint8)
    rows = embedding[:, foreground].T.astype(np.float64)
    if len(rows) < 2:
        return picture
    centred = rows - rows.mean(axis=0)
    axes = np.linalg.svd(centred.T @ centred)[0][:, :3]
    projected = centred @ axes
    low, high = np.percentile(projected, (1, 99), axis=0)
    unit = np.clip((projected - low) / np.maximum(high - low, 1e-6), 0, 1)
    picture[foreground, : unit.shape[1]] = (40 + 215 * unit).astype(np.uint8)
    return picture


def sheet(pictures: Sequence[Picture], *, columns: int, side_px: int = 256) -> Picture:
    """Lay pictures out in rows, each fitted into a square."""
    cells = [_fit(picture, side_px) for picture in pictures]
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    rows = [np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)]
    return np.vstack(rows)


def _fit(picture: Picture, side_px: int) -> Picture:
    scale = (side_px - 4) / max(picture.shape[:2])
    size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    cell = np.zeros((side_px, side_px, 3), np.uint8)
    cell[: size[1], : size[0]] = cv2.resize(picture, size, interpolation=how)
    return cell
