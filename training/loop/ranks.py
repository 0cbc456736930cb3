"""The processes that train together: one per GPU, started by ``torchrun``, or a single one."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta

import torch

# Its functions keep the group that there is when they are imported, as a default argument. Where
# PyTorch imports them later, the group's threads outlive its end, and threads of gloo that are
# there when Python ends can abort the process (pytorch/pytorch#179291, #190489).
import torch.distributed.nn
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

_PATIENCE = timedelta(hours=2)
"""How long the others wait while the first one validates."""


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def local_processes() -> int:
    """Tell how many processes of this machine train together."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if dist.is_torchelastic_launched() else 1


def is_first_here() -> bool:
    """Tell whether this is the first of the processes of this machine, which see the same files."""
    return not dist.is_torchelastic_launched() or os.environ["LOCAL_RANK"] == "0"


@dataclass(frozen=True, slots=True)
class Ranks:
    """One process among those that train together.

    Parameters
    ----------
    rank : int
        Which one; the first, 0, validates, saves and reports.
    size : int
        How many there are.
    device : device
        Where it computes.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=_device)

    @property
    def is_first(self) -> bool:
        """Whether it validates, saves and reports."""
        return self.rank == 0

    def join(self, model: nn.Module) -> nn.Module:
        """Make the gradients of a network the mean over all processes.

        Returns
        -------
        Module
            To be called in place of `model`, whose weights it shares.
        """
        if self.size == 1:
            return model
        return DistributedDataParallel(model)

    def exchanging(self, network: nn.Module, *, when: bool) -> AbstractContextManager[object]:
        """Exchange the gradients computed inside; of batches that are added up, with the last."""
        if isinstance(network, DistributedDataParallel) and not when:
            return network.no_sync()
        return nullcontext()

    def mean(self, value: Tensor) -> Tensor:
        """Average a scalar over the processes; NaN in one is NaN in all."""
        if self.size == 1:
            return value
        total = value.detach().clone()
        dist.all_reduce(total)
        return total / self.size

    def gather(self, lines: Sequence[str]) -> list[str]:
        """Give every process the lines of all, each line once."""
        if self.size == 1:
            return list(lines)
        of_all: list[Sequence[str]] = [()] * self.size
        dist.all_gather_object(of_all, lines)
        return list(dict.fromkeys(itertools.chain.from_iterable(of_all)))

    def wait(self) -> None:
        """Wait until all processes have come here."""
        if self.size > 1:
            dist.barrier()

    def share(self, values: Sequence[float]) -> list[float]:
        """Give every process the first one's numbers, so that all decide alike."""
        if self.size == 1:
            return list(values)
        numbers = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.broadcast(numbers, src=0)
        shared: list[float] = numbers.tolist()
        return shared


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the processes that ``torchrun`` started; alone where it did not.

    Notes
    -----
    NCCL between GPUs, gloo between CPUs. Batch normalisation sees the crops of all GPUs; on CPUs,
    where PyTorch has no such layer, those of its own process.
    """
    if not dist.is_torchelastic_launched():
        yield Ranks()
        return
    device = _device()
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()
