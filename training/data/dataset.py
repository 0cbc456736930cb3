"""Map-style data sets: image and instance labels, checked before training starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from service.arrays import Int32, UInt8

IGNORE = -1
"""Label of pixels that no loss and no metric looks at."""

CACHE_BYTES = 4 << 30
"""Memory that images kept on one machine fill at most: those to learn from, and the others."""


class DataError(Exception):
    """A data set that cannot be used: one line per broken file.

    Parameters
    ----------
    problems : sequence of str
        What is wrong, each with its file name.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)  # with which a copy is made in another process

    def __str__(self) -> str:
        return "\n".join(self.problems)


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
    classes : (K + 1,) int32, optional
        Class 1..C of every instance, at the index of its id; absent when there is one class.
    """

    name: str
    image: UInt8
    labels: Int32
    classes: Int32 | None = None

    def classes_at(self, ids: Int32) -> Int32:
        """Look up the class of instances: 0 for background and ignored pixels.

        Parameters
        ----------
        ids : (...) int32
            Values of `labels`.
        """
        if self.classes is None:
            return (ids > 0).astype(np.int32)
        return np.where(ids > 0, self.classes[np.maximum(ids, 0)], 0).astype(np.int32)


class Dataset(Protocol):
    """What training and evaluation ask of a data set."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, index: int) -> Sample:
        """Return one sample, always the same for an index; raise `DataError` if it is broken."""


class FileDataset(Dataset, Protocol):
    """A data set of files, which has a name for every sample."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of the samples, in order."""


def problems(dataset: Dataset) -> Iterator[str]:
    """Read every sample and yield what is wrong, in order, one line per broken file."""
    with ThreadPoolExecutor() as threads:
        for found in threads.map(lambda index: _problems_of(dataset, index), range(len(dataset))):
            yield from found


def _problems_of(dataset: Dataset, index: int) -> tuple[str, ...]:
    try:
        dataset[index]
    except DataError as error:
        return error.problems
    return ()


class NoFiles:
    """A data set of files without any: what validates a run that validates nothing."""

    ids: tuple[str, ...] = ()

    def __len__(self) -> int:
        return 0

    def __getitem__(self, index: int) -> Sample:
        raise IndexError(index)


class ResizedDataset:
    """Brings the samples of another data set to one size.

    Parameters
    ----------
    inner : Dataset
        Where they come from.
    height, width : int
        Pixels.

    Notes
    -----
    Images by area, so that nothing flickers; labels by nearest neighbour, which by an even factor
    puts them half a pixel of the original beside the image. What is too small to survive is gone.
    """

    def __init__(self, inner: Dataset, height: int, width: int) -> None:
        self._inner = inner
        self._size = (width, height)

    def __len__(self) -> int:
        return len(self._inner)

    def __getitem__(self, index: int) -> Sample:
        sample = self._inner[index]
        image = cv2.resize(sample.image, self._size, interpolation=cv2.INTER_AREA)
        labels = cv2.resize(
            sample.labels.astype(np.float32), self._size, interpolation=cv2.INTER_NEAREST_EXACT
        )
        pixels = np.asarray(image, np.uint8)
        return Sample(sample.name, pixels, labels.astype(np.int32), sample.classes)


class JoinedDataset:
    """One data set after another."""

    def __init__(self, first: Dataset, second: Dataset) -> None:
        self._first, self._second = first, second

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def __getitem__(self, index: int) -> Sample:
        past = index - len(self._first)
        return self._first[index] if past < 0 else self._second[past]


class SubsetDataset:
    """The samples of another data set that have one of these names.

    Raises
    ------
    DataError
        If a name is not among them.
    """

    def __init__(self, inner: Dataset, names: Sequence[str]) -> None:
        places = {inner[index].name: index for index in range(len(inner))}
        unknown = [name for name in names if name not in places]
        if unknown:
            raise DataError([f"{name}: no image of that name in the split" for name in unknown])
        self._inner, self._indices = inner, [places[name] for name in names]

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Sample:
        return self._inner[self._indices[index]]


class CachedDataset:
    """Keeps the samples of another data set in memory once they were read.

    Parameters
    ----------
    inner : Dataset
        Where they come from.
    budget_bytes : int
        Memory from which on further samples are read each time.
    """

    def __init__(self, inner: Dataset, budget_bytes: int = CACHE_BYTES) -> None:
        self._inner = inner
        self._kept: dict[int, Sample] = {}
        self._left_bytes = budget_bytes

    def __len__(self) -> int:
        return len(self._inner)

    def __getitem__(self, index: int) -> Sample:
        if index in self._kept:
            return self._kept[index]
        sample = self._inner[index]
        size_bytes = sample.image.nbytes + sample.labels.nbytes
        if size_bytes <= self._left_bytes:
            self._left_bytes -= size_bytes
            self._kept[index] = sample
        return sample
