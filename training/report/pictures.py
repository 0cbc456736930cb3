"""Pictures for people: outlines over images, embeddings as colour, sheets of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from service.arrays import Bool, Float64, Int32, UInt8
from service.domain import Prediction
from training.scoring.decoding import as_rgb

Picture = UInt8
"""(H, W, 3) uint8 RGB."""


def stretch(image: UInt8) -> Picture:
    """Show an image at full contrast: dark fluorescence is black to the eye otherwise."""
    rgb = as_rgb(image).astype(np.float32)
    low, high = np.percentile(rgb, (1, 99.8))
    shown: Picture = np.clip((rgb - low) / max(high - low, 4) * 255, 0, 255).astype(np.uint8)
    return shown


def colours(labels: Int32) -> Picture:
    """Give every instance a colour that its neighbours in number do not have."""
    hue = (labels.astype(np.int64) * 67 % 180).astype(np.uint8)
    value = np.where(labels > 0, 230, 0).astype(np.uint8)
    hsv = np.stack([hue, np.full_like(hue, 200), value], axis=2)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)


def outlines(image: UInt8, labels: Int32) -> Picture:
    """Draw the border of every instance over the image."""
    picture = stretch(image)
    ids = labels.astype(np.float32)
    window = np.ones((3, 3), np.uint8)
    border = (cv2.dilate(ids, window) != cv2.erode(ids, window)) & (labels > 0)
    picture[border] = colours(labels)[border]
    return picture


def principal_components(embedding: npt.NDArray[Any], foreground: Bool) -> Picture:
    """Show the three directions in which the foreground's vectors differ most, as colour.

    Parameters
    ----------
    embedding : (E, h, w) float
        Pixel vectors.
    foreground : (h, w) bool
        Pixels to show; the rest is black.
    """
    picture = np.zeros((*foreground.shape, 3), np.uint8)
    if foreground.sum() < 2:
        return picture
    projected = _projected(embedding[:, foreground], 3)
    low, high = np.percentile(projected, (1, 99), axis=0)
    unit = np.clip((projected - low) / np.maximum(high - low, 1e-6), 0, 1)
    picture[foreground, : unit.shape[1]] = (40 + 215 * unit).astype(np.uint8)
    return picture


def projection(embedding: npt.NDArray[Any], labels: Int32, *, side_px: int = 256) -> Picture:
    """Place every instance pixel by its vector, in the colour of its instance.

    Parameters
    ----------
    embedding : (E, h, w) float
        Pixel vectors; of three dimensions or more, the two in which they differ most.
    labels : (h, w) int32
        Instances; other pixels are left out.
    side_px : int
        Side of the picture; both axes have one scale.
    """
    picture = np.full((side_px, side_px, 3), 255, np.uint8)
    shown = labels > 0
    if shown.sum() < 2:
        return picture
    vectors = embedding[:, shown]
    places = vectors.T.astype(np.float64) if len(vectors) == 2 else _projected(vectors, 2)
    places = np.pad(places, ((0, 0), (0, 2 - places.shape[1])))
    low, high = places.min(axis=0), places.max(axis=0)
    unit = (places - (low + high) / 2) / max(float((high - low).max()), 1e-6) + 0.5
    x, y = np.rint(4 + unit * (side_px - 9)).astype(np.int64).T
    picture[y, x] = colours(labels)[shown]
    return picture


def panels(
    image: UInt8,
    true: Int32,
    prediction: Prediction,
    found: Int32,
) -> list[Picture]:
    """Show an image, its truth, the answer, the foreground and the embedding, all of one size.

    Parameters
    ----------
    image : (H, W) or (H, W, 3) uint8
        What the network was given.
    true, found : (H, W) int32
        Instances.
    prediction : Prediction
        What the network said.
    """
    height, width = true.shape
    logits = prediction.foreground_logits.max(axis=0).astype(np.float32)
    likely = (255 / (1 + np.exp(-logits[:height, :width]))).astype(np.uint8)
    stride = logits.shape[0] // prediction.embedding.shape[1]
    seen = principal_components(prediction.embedding, logits[::stride, ::stride] > 0)
    return [
        stretch(image),
        outlines(image, true),
        outlines(image, found),
        as_rgb(likely),
        seen.repeat(stride, axis=0).repeat(stride, axis=1)[:height, :width],
    ]


def _projected(vectors: npt.NDArray[Any], count: int) -> Float64:
    """Give the first principal components of (E, N) vectors, (N, count) or fewer."""
    rows = vectors.T.astype(np.float64)
    centred = rows - rows.mean(axis=0)
    axes = np.linalg.svd(centred.T @ centred)[0][:, :count]
    return np.asarray(centred @ axes, np.float64)


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
