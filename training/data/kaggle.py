"""Kaggle's layout of DSB2018: ``stage1_train/<id>/images/<id>.png`` and a mask per nucleus.

Images and masks of one's own may end otherwise, as those of `training.data.folder` may.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.dataset import DataError, Sample
from training.data.files import (
    ALLOWED,
    IMAGE_ENDINGS,
    LABEL_ENDINGS,
    Labels,
    find_file,
    read_image,
    read_labels,
    require_size,
)
from training.data.splits import choose

FOLDER = "stage1_train"


@dataclass(frozen=True, slots=True)
class KaggleDataset:
    """Images with one mask file per instance.

    Parameters
    ----------
    root : Path
        Holds ``stage1_train``.
    ids : tuple of str
        Names of the folders there.
    allow_empty : bool
        Take images without an instance, whose ``masks`` is empty; otherwise they count as broken.

    Notes
    -----
    Larger masks are painted first, so that a small instance on a large one stays visible.
    """

    root: Path
    ids: tuple[str, ...]
    allow_empty: bool = False

    @classmethod
    def open(
        cls, root: Path, split: str, val_share: float, *, allow_empty: bool = False
    ) -> KaggleDataset:
        """Find the images of a split (`training.data.splits.choose`)."""
        found = [path.parent.name for path in (root / FOLDER).glob("*/images")]
        return cls(root, choose(root, split, found, val_share), allow_empty)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        name = self.ids[index]
        folder = self.root / FOLDER / name
        image = read_image(find_file(folder / "images", name, IMAGE_ENDINGS))
        masks = folder / "masks"
        paths = sorted(path for path in masks.glob("*.*") if path.suffix.lower() in LABEL_ENDINGS)
        if not paths and not (self.allow_empty and masks.is_dir()):
            raise DataError([f"{masks}: no mask in it; {ALLOWED}"])
        return Sample(name, image, _paint(paths, image.shape[:2]))


def _paint(paths: Sequence[Path], size: tuple[int, ...]) -> Labels:
    labels = np.zeros(size, np.int32)
    masks = []
    for path in paths:
        mask = read_labels(path) > 0
        require_size(path, mask.shape, size)
        if not mask.any():
            raise DataError([f"{path}: the mask is empty"])
        masks.append(mask)
    masks.sort(key=np.count_nonzero, reverse=True)
    for number, mask in enumerate(masks, start=1):
        labels[mask] = number
    return labels
