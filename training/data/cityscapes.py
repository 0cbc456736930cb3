"""The layout of Cityscapes: ``leftImg8bit/<split>/<city>`` and ``gtFine/<split>/<city>``.

A pixel of ``*_gtFine_instanceIds.png`` holds ``1000 * label + number`` where the instance is known,
and the label alone where it is not: stuff, or a group of things that nobody told apart. Numbers of
the labels: `cityscapesscripts/helpers/labels.py` of the data set's authors.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from training.data.dataset import IGNORE, DataError, Sample
from training.data.files import Labels, read_image, read_labels, require_size

THINGS = MappingProxyType(
    {
        "person": 24,
        "rider": 25,
        "car": 26,
        "truck": 27,
        "bus": 28,
        "train": 31,
        "motorcycle": 32,
        "bicycle": 33,
    }
)
"""The eight classes of the instance benchmark, and their labels."""

_LAST_LABEL = 33
_VOID = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)
"""What the official evaluation does not judge, ``ignoreInEval`` of its labels: from what is
unlabelled, static or dynamic to parking, bridges, caravans and trailers."""

_IMAGE, _LABEL = "_leftImg8bit.png", "_gtFine_instanceIds.png"


@dataclass(frozen=True, slots=True)
class CityscapesDataset:
    """Street scenes with the instances of eight classes.

    Parameters
    ----------
    root : Path
        Holds ``leftImg8bit`` and ``gtFine``.
    split : str
        ``train`` or ``val``.
    ids : tuple of str
        ``<city>/<city>_<sequence>_<frame>``.
    classes : tuple of str
        Names of `THINGS` in the order of the foreground maps; empty: all of them as one class.

    Notes
    -----
    Pixels that the benchmark does not judge and groups are ignored. Instances of a class that is
    not asked for are background.
    """

    root: Path
    split: str
    ids: tuple[str, ...]
    classes: tuple[str, ...] = ()

    @classmethod
    def open(cls, root: Path, split: str, classes: tuple[str, ...]) -> CityscapesDataset:
        """Find the images of a split.

        Raises
        ------
        DataError
            If there is none, or a class is not one of the benchmark's.
        """
        unknown = [name for name in classes if name not in THINGS]
        if unknown:
            raise DataError(
                [f"data.classes: {name!r} is not one of {list(THINGS)}" for name in unknown]
            )
        folder = root / "leftImg8bit" / split
        ids = sorted(
            f"{path.parent.name}/{path.name.removesuffix(_IMAGE)}"
            for path in folder.glob(f"*/*{_IMAGE}")
        )
        if not ids:
            raise DataError([f"{folder}: no <city>/*{_IMAGE} in it"])
        return cls(root, split, tuple(ids), classes)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        name = self.ids[index]
        image = read_image(self.root / "leftImg8bit" / self.split / f"{name}{_IMAGE}")
        path = self.root / "gtFine" / self.split / f"{name}{_LABEL}"
        codes = read_labels(path)
        require_size(path, codes.shape, image.shape[:2])
        if not codes.any():
            raise DataError([f"{path}: nothing is labelled in it"])
        labels, classes = _instances(path, codes, self.classes)
        return Sample(name, image, labels, classes if self.classes else None)


def _instances(path: Path, codes: Labels, classes: tuple[str, ...]) -> tuple[Labels, Labels]:
    """Give every instance a number 1..K, and its class at that place of (K + 1,)."""
    found, inverse = np.unique(codes, return_inverse=True)
    kinds = np.where(found >= 1000, found // 1000, found)
    if kinds.max() > _LAST_LABEL:
        wrong = int(found[kinds > _LAST_LABEL][0])
        raise DataError(
            [f"{path}: {wrong} is no id of Cityscapes, which has labels 0 to {_LAST_LABEL}"]
        )
    wanted = [THINGS[name] for name in classes or THINGS]
    mine = (found >= 1000) & np.isin(kinds, wanted)
    groups = (found < 1000) & np.isin(kinds, list(THINGS.values()))
    numbers = np.zeros(found.size, np.int32)
    numbers[mine] = np.arange(1, int(mine.sum()) + 1)
    numbers[groups | np.isin(kinds, _VOID)] = IGNORE
    order = {label: i for i, label in enumerate(wanted, start=1)}
    of_class = np.array([0, *(order[int(kind)] for kind in kinds[mine])], np.int32)
    return numbers[inverse].reshape(codes.shape), of_class
