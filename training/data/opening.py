"""From the configuration to the data sets of a run."""

from __future__ import annotations

from pathlib import Path

from training.config.data import DataConfig
from training.config.experiment import Config
from training.data.cityscapes import CityscapesDataset
from training.data.coco import CocoDataset
from training.data.cvppp import CvpppDataset
from training.data.dataset import (
    CACHE_BYTES,
    CachedDataset,
    DataError,
    Dataset,
    FileDataset,
    JoinedDataset,
    NoFiles,
    ResizedDataset,
    problems,
)
from training.data.folder import FolderDataset
from training.data.kaggle import KaggleDataset
from training.data.synthetic import NucleiDataset, SticksDataset

DRAWN = ("sticks", "nuclei")
"""Kinds that need no files."""


def open_datasets(config: Config, root: Path, *, processes: int = 1) -> tuple[Dataset, Dataset]:
    """Open training and validation data, every file read and checked.

    Parameters
    ----------
    config : Config
        The experiment.
    root : Path
        The folder of data.
    processes : int
        How many of this machine train together; each of their workers keeps samples of its own,
        all together no more than `CACHE_BYTES`.

    Raises
    ------
    DataError
        With one line per broken file, or per image that both sides name.
    """
    data, seed = config.data, config.seed
    if data.kind in DRAWN:
        return (
            _drawn(data, count=10**9, seed=seed),
            _drawn(data, count=data.val_images, seed=seed + 1),
        )
    train = _to_learn_from(data, root, data.train)
    val = _to_learn_from(data, root, data.val) if data.val else NoFiles()
    wrong = [
        f"{root}: {name} is in both {data.train} and {data.val}, one of which must lose it"
        for name in sorted(set(train.ids) & set(val.ids))
    ]
    wrong.extend(problem for dataset in (train, val) for problem in problems(dataset))
    if wrong:
        raise DataError(wrong)
    images = _resized(data, train)
    if data.drawn:
        images = JoinedDataset(images, _drawn(data, count=data.drawn, seed=seed))
    readers = processes * max(config.optim.workers, 1)
    return CachedDataset(images, CACHE_BYTES // readers), CachedDataset(_resized(data, val))


def _to_learn_from(data: DataConfig, root: Path, split: str) -> FileDataset:
    """Find the files of a split that a run learns from, or chooses its best weights by.

    Of many images without an instance the best network would be one that finds nothing.
    """
    dataset = find_split(data, root, split)
    if isinstance(dataset, CocoDataset) and not data.allow_empty:
        return dataset.with_instances()
    return dataset


def open_split(data: DataConfig, root: Path, split: str) -> Dataset:
    """Open one split of files, every one read and checked.

    Raises
    ------
    DataError
        With one line per broken file.
    """
    dataset = find_split(data, root, split)
    wrong = list(problems(dataset))
    if wrong:
        raise DataError(wrong)
    return _resized(data, dataset)


def find_split(data: DataConfig, root: Path, split: str) -> FileDataset:
    """Find the files of a split, without reading them.

    Raises
    ------
    DataError
        If there are none, or the layout is not one of files.
    """
    empty = data.allow_empty
    match data.kind:
        case "folder":
            return FolderDataset.open(root, split, data.labels, allow_empty=empty)
        case "kaggle":
            return KaggleDataset.open(root, split, data.val_share, allow_empty=empty)
        case "cvppp":
            return CvpppDataset.open(root, split, data.val_share, allow_empty=empty)
        case "cityscapes":
            return CityscapesDataset.open(root, split, data.classes)
        case "coco":
            return CocoDataset.open(root, split, data.classes)
        case _:
            raise DataError(
                [f"data.kind: {data.kind!r} draws its images and has no split {split!r}"]
            )


def _resized(data: DataConfig, dataset: Dataset) -> Dataset:
    return ResizedDataset(dataset, *data.resize) if data.resize else dataset


def _drawn(data: DataConfig, *, count: int, seed: int) -> Dataset:
    scenes = SticksDataset if data.kind == "sticks" else NucleiDataset
    return scenes(
        count=count,
        seed=seed,
        size=data.image_size,
        min_objects=data.min_objects,
        max_objects=data.max_objects,
    )
