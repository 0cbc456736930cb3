"""Reading pictures and label maps, with errors that name the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION, TiffImageFile

from service.arrays import Int32, UInt8
from service.domain import ImageLimits
from service.errors import RequestError
from service.imaging.decode import decode_image
from service.imaging.tiff import WHITE_IS_ZERO
from training.data.dataset import IGNORE, DataError

Labels = Int32

IMAGE_ENDINGS: Final = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".webp", ".bmp")
LABEL_ENDINGS: Final = (".png", ".tif", ".tiff")
"""Endings of the files that `read_image` and `read_labels` take, in the order of preference."""

ALLOWED: Final = "data.allow_empty (--allow-empty) takes images without any"
"""What to do where that is as it should be."""

LARGEST_ID: Final = 2**24
"""Labels are remapped as float32, which holds no larger whole numbers without gaps."""

_ANY_SIZE: Final = ImageLimits(max_bytes=2**32, max_pixels=2**30, max_side_px=2**20)
"""Files of one's own are no attack; a picture of more pixels would not fit the memory either."""


def read_image(path: Path) -> UInt8:
    """Read a picture as the gateway does: (H, W) uint8 when it is grey, else (H, W, 3) RGB.

    Any format and depth that it takes; more than 8 bits are scaled
    (`service.imaging.decode`).

    Raises
    ------
    DataError
        If the file is missing or does not decode.
    """
    try:
        pixels = decode_image(_bytes(path), _ANY_SIZE).pixels
    except RequestError as error:
        raise DataError([f"{path}: {error.detail}"]) from error
    first = pixels[:, :, :1]
    return np.ascontiguousarray(first[:, :, 0]) if (pixels == first).all() else pixels


def find_file(folder: Path, name: str, endings: tuple[str, ...]) -> Path:
    """Find the file of an id.

    Parameters
    ----------
    folder, name : Path, str
        Where, and its name without ending.
    endings : tuple of str
        Those that it may have, in small or in capital letters; the first that is there counts.

    Returns
    -------
    Path
        Where none is there, that with the first ending.
    """
    paths = [folder / f"{name}{form}" for ending in endings for form in (ending, ending.upper())]
    return next((path for path in paths if path.is_file()), paths[0])


def read_labels(path: Path) -> Labels:
    """Read a label map of whole numbers; of a map with a palette, the indices.

    Raises
    ------
    DataError
        If the file is missing, does not decode, has colour channels, fractions or ids that are out
        of range.
    """
    data = np.frombuffer(_bytes(path), np.uint8)
    pixels: npt.NDArray[Any] | None = (
        cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    )
    if pixels is None:
        raise DataError([f"{path}: does not decode as an image"])
    if pixels.ndim == 3:
        with Image.open(path) as picture:
            if picture.mode != "P":
                raise DataError([f"{path}: {pixels.shape[2]} channels, a label map has one"])
            pixels = np.asarray(picture)
    elif pixels.dtype == np.uint8 and _is_inverted(path):
        pixels = 255 - pixels  # as they are stored: ids are no brightness
    if pixels.dtype.kind not in "iu":
        raise DataError([f"{path}: {pixels.dtype} pixels, a label map has whole numbers"])
    low, high = int(pixels.min()), int(pixels.max())
    if not IGNORE <= low <= high <= LARGEST_ID:
        raise DataError(
            [f"{path}: ids from {low} to {high}, a label map has {IGNORE} to {LARGEST_ID}"]
        )
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
    """Refuse a label file in which there is nothing, as in one that was never drawn.

    Raises
    ------
    DataError
        If no pixel is labelled.
    """
    if not labels.any():
        raise DataError([f"{path}: no instance in it; {ALLOWED}"])


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
        for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        if line.strip()
    ]
    if not ids:
        raise DataError([f"{path}: the list is empty"])
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise DataError([f"{path}: {name} stands there twice" for name in twice])
    return tuple(ids)


def _is_inverted(path: Path) -> bool:
    """Tell whether 0 is white in a TIFF file, as in ImageJ's masks, for which OpenCV gives 255.

    One of single bits is taken as it looks: facsimiles have 0 for white, whatever they show.
    """
    if path.suffix.lower() not in (".tif", ".tiff"):
        return False
    with Image.open(path) as picture:
        return (
            isinstance(picture, TiffImageFile)
            and picture.mode == "L"
            and picture.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO
        )


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise DataError([f"{path}: no such file"])
    return path.read_bytes()
