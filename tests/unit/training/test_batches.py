"""Crops by number: the same whoever cuts them, others for every batch, calm at the end."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.training.conftest import drawn
from training.config.experiment import Config
from training.data.dataset import DataError, Sample
from training.loop.batches import Batches, batch_at
from training.loop.checkpoint import Checkpoint
from training.loop.ranks import Ranks
from training.loop.schedule import is_calm

CPU = torch.device("cpu")
IMAGES = drawn(8, seed=0)


def with_optim(config: Config, **settings: Any) -> Config:
    return replace(config, optim=replace(config.optim, **settings))


def crops(config: Config, ranks: Ranks, *, step: int, count: int) -> list[Tensor]:
    supply = Batches(IMAGES, config, ranks).starting_at(step)
    return [images for images, _ in islice(supply, count)]


def test_every_batch_has_other_crops(tiny: Config) -> None:
    first, second = crops(tiny, Ranks(device=CPU), step=0, count=2)
    assert not torch.equal(first, second)


def test_batches_from_a_later_step_are_those_that_would_have_come(tiny: Config) -> None:
    config = with_optim(tiny, accumulate=2)
    whole = crops(config, Ranks(device=CPU), step=0, count=6)
    rest = crops(config, Ranks(device=CPU), step=2, count=2)
    assert torch.equal(torch.stack(rest), torch.stack(whole[4:]))


def test_two_processes_see_what_one_sees_with_twice_the_batch(tiny: Config) -> None:
    doubled = crops(with_optim(tiny, batch=4), Ranks(device=CPU), step=0, count=3)
    halves = [crops(tiny, Ranks(rank, 2, CPU), step=0, count=3) for rank in (0, 1)]
    for whole, first, second in zip(doubled, *halves, strict=True):
        assert torch.equal(whole, torch.cat([first, second]))


def test_workers_cut_the_same_crops(tiny: Config) -> None:
    alone = Batches(IMAGES, tiny, Ranks(device=CPU)).starting_at(1)
    ahead = Batches(IMAGES, with_optim(tiny, workers=2), Ranks(device=CPU)).starting_at(1)
    for (images, targets), (others, other_targets) in zip(alone, ahead, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(targets.labels, other_targets.labels)


class Vanished:
    """A data set whose files were there when they were checked."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        raise DataError(["images/a.png: no such file"])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_has_vanished_is_told_as_it_is_before_the_run(
    tiny: Config, workers: int
) -> None:
    batches = Batches(Vanished(), with_optim(tiny, workers=workers), Ranks(device=CPU))
    with pytest.raises(DataError, match=r"^images/a\.png: no such file$"):
        next(batches.starting_at(0))


@pytest.mark.parametrize("size", [1, 2])
def test_crops_are_calm_from_the_step_on_that_the_configuration_names(
    tiny: Config, size: int
) -> None:
    config = replace(tiny, augment=replace(tiny.augment, calm_after=0.5, warp=1.0))
    numbers = range(0, 6 * size, size)
    found = crops(config, Ranks(0, size, CPU), step=0, count=6)
    calm = [
        torch.equal(images, batch_at(IMAGES, config, number, calm=True)[0])
        for number, images in zip(numbers, found, strict=True)
    ]
    assert calm == [False] * 3 + [True] * 3


def test_calm_begins_at_the_step_at_which_the_run_says_so(tiny: Config) -> None:
    config = with_optim(tiny, steps=100)
    config = replace(config, augment=replace(config.augment, calm_after=0.55, warp=1.0))
    assert is_calm(Checkpoint(config, {}, {}, step=55)), "0.55 x 100 is above 55 in floats"
    batch = Batches(IMAGES, config, Ranks(device=CPU))[55]
    assert not isinstance(batch, DataError)
    images, _, _ = batch
    assert torch.equal(images, batch_at(IMAGES, config, 55, calm=True)[0])


def test_a_run_that_follows_the_clock_turns_calm_when_told(tiny: Config) -> None:
    config = replace(tiny, augment=replace(tiny.augment, warp=1.0))
    batches = Batches(IMAGES, config, Ranks(device=CPU))
    supply = batches.starting_at(0)
    wild, _ = next(supply)
    batches.turn_calm()
    calm, _ = next(supply)
    assert torch.equal(wild, batch_at(IMAGES, config, 0)[0])
    assert torch.equal(calm, batch_at(IMAGES, config, 1, calm=True)[0])
