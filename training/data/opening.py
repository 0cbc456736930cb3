"""From the configuration to the data sets of a run."""

from __future__ import annotations

from pathlib import Path

from training.config.experiment import Config
from training.data.dataset import CachedDataset, DataError, Dataset, FolderDataset
from training.data.synthetic import NucleiDataset, SticksDataset


def open_datasets(config: Config, root: Path) -> tuple[Dataset, Dataset]:
    """Open training and validation data, every file read and checked.

    Raises
    ------
    DataError
        With one line per broken file.
    """
    data, seed = config.data, config.seed
    if data.kind != "folder":
        return (
            _drawn(config, count=10**9, seed=seed),
            _drawn(config, count=data.val_images, seed=seed + 1),
        )
    opened = [FolderDataset.open(root, split, data.labels) for split in (data.train, data.val)]
    problems = [problem for dataset in opened for problem in dataset.check()]
    if problems:
        raise DataError(problems)
    return CachedDataset(opened[0]), CachedDataset(opened[1])


def _drawn(config: Config, *, count: int, seed: int) -> Dataset:
    data = config.data
    if data.kind == "sticks":
        return SticksDataset(
            count=count, seed=seed, size=data.image_size,
            min_sticks=data.min_objects, max_sticks=data.max_objects,
        )  # fmt: skip
    return NucleiDataset(
        count=count, seed=seed, size=data.image_size,
        min_nuclei=data.min_objects, max_nuclei=data.max_objects,
    )  # fmt: skip
