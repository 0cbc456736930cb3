"""Map-style data sets: image and instance labels, checked before training starts.

The folder format: ``images/<id>.png``, one or more label folders with ``<id>.png`` (16-bit, 0
background, 1..N instances), and split lists ``<split>.txt`` of ids, one per line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt


class DataError(Exception):
    """A data set that cannot be used: one line per broken file.

    Parameters
    ----------
    problems : sequence of str
        What is wrong, each with its file name.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Sample:
    """One image and its instances.

    Parameters
    ----------
    name : str
        Id, for reports.
    image : (H, W) or (H, W, 3) uint8
        Grey or RGB.
    labels : (H, W) int32
        0 background, 1..K instances, -1 ignore.
    """

    name: str
    image: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int32]


class Dataset(Protocol):
    """What training and evaluation ask of a data set."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, index: int) -> Sample:
        """Return one sample, always the same for an index."""


@dataclass(frozen=True, slots=True)
class FolderDataset:
    """Images and label maps in a folder.

    Parameters
    ----------
    root : Path
        The folder.
    ids : tuple of str
        File names without extension.
    label_folders : tuple of str
        The first that holds an id's mask gives it.
    """

    root: Path
    ids: tuple[str, ...]
    label_folders: tuple[str, ...] = ("labels",)

    @classmethod
    def open(cls, root: Path, split: str, label_folders: tuple[str, ...]) -> FolderDataset:
        """Read a split list.

        Raises
        ------
        DataError
            If the list is missing or empty.
        """
        path = root / f"{split}.txt"
        if not path.is_file():
            raise DataError([f"{path}: no such split list"])
        ids = tuple(line.strip() for line in path.read_text().splitlines() if line.strip())
        if not ids:
            raise DataError([f"{path}: the list is empty"])
        return cls(root, ids, label_folders)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        name = self.ids[index]
        image = self._image_path(name)
        labels = self._label_path(name)
        return Sample(name, read_image(image), read_labels(labels))

    def _image_path(self, name: str) -> Path:
        return self.root / "images" / f"{name}.png"

    def _label_path(self, name: str) -> Path:
        for folder in self.label_folders:
            path = self.root / folder / f"{name}.png"
            if path.is_file():
                return path
        tried = ", ".join(f"{folder}/" for folder in self.label_folders)
        raise DataError([f"{self._image_path(name)}: no mask in {tried}"])

    def check(self) -> Iterator[str]:
        """Read every file and yield what is wrong, one sentence per broken file."""
        for name in self.ids:
            try:
                sample_problem = _problem(self._image_path(name), self._label_path(name))
            except DataError as error:
                yield from error.problems
                continue
            if sample_problem:
                yield sample_problem


class CachedDataset:
    """Keeps the samples of another data set in memory once they were read."""

    def __init__(self, inner: Dataset) -> None:
        self._inner = inner
        self._kept: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self._inner)

    def __getitem__(self, index: int) -> Sample:
        if index not in self._kept:
            self._kept[index] = self._inner[index]
        return self._kept[index]


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Read an 8-bit picture, (H, W) when it is grey, else (H, W, 3) RGB.

    Raises
    ------
    DataError
        If the file is missing or does not decode.
    """
    pixels = _read(path, cv2.IMREAD_UNCHANGED)
    if pixels.dtype != np.uint8:
        raise DataError([f"{path}: {pixels.dtype} pixels, expected 8 bits"])
    if pixels.ndim == 2:
        return pixels
    return np.ascontiguousarray(pixels[:, :, 2::-1])


def read_labels(path: Path) -> npt.NDArray[np.int32]:
    """Read a label map of 8 or 16 bits.

    Raises
    ------
    DataError
        If the file is missing, does not decode or has colour channels.
    """
    pixels = _read(path, cv2.IMREAD_UNCHANGED)
    if pixels.ndim != 2:
        raise DataError([f"{path}: {pixels.shape[2]} channels, a label map has one"])
    return pixels.astype(np.int32)


def _read(path: Path, flags: int) -> npt.NDArray[Any]:
    if not path.is_file():
        raise DataError([f"{path}: no such file"])
    pixels: npt.NDArray[Any] | None = cv2.imdecode(np.fromfile(path, dtype=np.uint8), flags)
    if pixels is None:
        raise DataError([f"{path}: does not decode as an image"])
    return pixels


def _problem(image_path: Path, label_path: Path) -> str | None:
    image, labels = read_image(image_path), read_labels(label_path)
    if image.shape[:2] != labels.shape:
        return f"{label_path}: {labels.shape} pixels, the image has {image.shape[:2]}"
    if not labels.any():
        return f"{label_path}: no instance in it"
    return None
