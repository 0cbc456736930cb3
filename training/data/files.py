"""Reading pictures and label maps, with errors that name the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from training.data.dataset import DataError

# What it prints to the terminal names no file; the errors below do.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

Labels = npt.NDArray[np.int32]


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Read an 8-bit picture, (H, W) when it is grey, else (H, W, 3) RGB.

    Raises
    ------
    DataError
        If the file is missing or does not decode.
    """
    pixels = _read(path)
    if pixels.dtype != np.uint8:
        raise DataError([f"{path}: {pixels.dtype} pixels, expected 8 bits"])
    if pixels.ndim == 2:
        return pixels
    return np.ascontiguousarray(pixels[:, :, 2::-1])


def read_labels(path: Path) -> Labels:
    """Read a label map of 8 or 16 bits; of a map with a palette, the indices.

    Raises
    ------
    DataError
        If the file is missing, does not decode or has colour channels.
    """
    pixels = _read(path)
    if pixels.ndim == 3:
        with Image.open(path) as picture:
            if picture.mode != "P":
                raise DataError([f"{path}: {pixels.shape[2]} channels, a label map has one"])
            pixels = np.asarray(picture)
    return pixels.astype(np.int32)


def require_size(path: Path, size: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    """Refuse a label file of another height and width than its image.

    Raises
    ------
    DataError
        If they differ.
    """
    if size != wanted:
        raise DataError([f"{path}: {size} pixels, the image has {wanted}"])


def require_instances(path: Path, labels: Labels) -> None:
    """Refuse a label file in which there is nothing.

    Raises
    ------
    DataError
        If no pixel is labelled.
    """
    if not labels.any():
        raise DataError([f"{path}: no instance in it"])


def read_list(path: Path) -> tuple[str, ...]:
    """Read a list of ids, one per line.

    Raises
    ------
    DataError
        If the list is missing or empty, or names an id twice.
    """
    if not path.is_file():
        raise DataError([f"{path}: no such split list"])
    ids = [
        line.strip()
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.strip()
    ]
    if not ids:
        raise DataError([f"{path}: the list is empty"])
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise DataError([f"{path}: {name} stands there twice" for name in twice])
    return tuple(ids)


def _read(path: Path) -> npt.NDArray[Any]:
    if not path.is_file():
        raise DataError([f"{path}: no such file"])
    pixels: npt.NDArray[Any] | None = cv2.imdecode(
        np.fromfile(path, dtype=np.uint8), cv2.IMREAD_UNCHANGED
    )
    if pixels is None:
        raise DataError([f"{path}: does not decode as an image"])
    return pixels
