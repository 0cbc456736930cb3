"""What a run learns from: crops that follow from the seed and their number alone.

Crops are numbered through a run, so it does not matter which process or worker cuts them, or where
a run was interrupted: the same crops make up the same steps.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from training.config.experiment import Config
from training.data.dataset import DataError, Dataset
from training.data.transforms import train_crop
from training.loop.ranks import Ranks
from training.losses.targets import Targets

_AHEAD = 4
"""Batches that each worker prepares beforehand."""


def batch_at(
    dataset: Dataset, config: Config, number: int, *, calm: bool = False
) -> tuple[Tensor, Targets]:
    """Cut one batch.

    Parameters
    ----------
    dataset : Dataset
        Where crops are cut.
    config : Config
        Batch size, seed and augmentation.
    number : int
        Which batch of the run.
    calm : bool
        Leave out the changes that cost sharpness (`AugmentConfig.calm_after`).

    Returns
    -------
    images : (B, 3, H, W) float32
        In 0..255.
    targets : Targets
        Labels and classes as `training.data.transforms.train_crop` gives them.
    """
    augment = replace(config.augment, warp=0.0) if calm else config.augment
    crops = []
    for slot in range(config.optim.batch):
        rng = np.random.default_rng([config.seed, number * config.optim.batch + slot])
        crops.append(train_crop(dataset[int(rng.integers(len(dataset)))], rng, augment))
    images, labels, classes = (
        torch.from_numpy(np.stack(part)) for part in zip(*crops, strict=True)
    )
    return images.permute(0, 3, 1, 2).contiguous(), Targets(labels.long(), classes.long())


class Batches(TorchDataset[tuple[Tensor, Tensor, Tensor] | DataError]):
    """The batches of a run by number, cut here or ahead of time in worker processes.

    Parameters
    ----------
    dataset : Dataset
        Where crops are cut.
    config : Config
        Batch size, seed, augmentation, workers.
    ranks : Ranks
        Which process cuts them, and where it wants them.
    """

    def __init__(self, dataset: Dataset, config: Config, ranks: Ranks) -> None:
        self._dataset = dataset
        self._config = config
        self._ranks = ranks
        # Workers see it, too: a run bounded by the clock turns calm at no known number.
        self._calm = multiprocessing.Event()

    def turn_calm(self) -> None:
        """Warp no crop from here on."""
        self._calm.set()

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor, Tensor] | DataError:
        # Divided as in `schedule.is_calm`: a product would be rounded another way.
        done = number // self._per_step / self._config.optim.steps
        calm = self._calm.is_set() or done >= self._config.augment.calm_after
        try:
            images, targets = batch_at(self._dataset, self._config, number, calm=calm)
        except DataError as error:
            return error  # raised in a worker, it would arrive as the text of its stack
        assert targets.classes is not None  # noqa: S101 - narrows the type
        return images, targets.labels, targets.classes

    @property
    def _per_step(self) -> int:
        return self._config.optim.accumulate * self._ranks.size

    def starting_at(self, step: int) -> Iterator[tuple[Tensor, Targets]]:
        """Go through this process's batches of a step and all that follow.

        Yields
        ------
        images, targets
            As `batch_at` gives them, on the device.

        Raises
        ------
        DataError
            If a file is no longer what it was when it was checked.
        """
        optim, ranks = self._config.optim, self._ranks
        numbers = range(
            step * self._per_step + ranks.rank, optim.steps * self._per_step, ranks.size
        )
        on_gpu = ranks.device.type == "cuda"
        loader = DataLoader(
            self, sampler=numbers, batch_size=None, num_workers=optim.workers, pin_memory=on_gpu,
            prefetch_factor=_AHEAD if optim.workers else None, worker_init_fn=_prepare_worker,
        )  # fmt: skip
        for batch in loader:
            if isinstance(batch, DataError):
                raise batch
            images, labels, classes = (part.to(ranks.device, non_blocking=on_gpu) for part in batch)
            yield images, Targets(labels, classes)


def _prepare_worker(_: int) -> None:
    # One thread each, as PyTorch does for itself: the workers are the parallelism.
    cv2.setNumThreads(0)
