"""A run small enough to finish in seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from service.domain import Prediction
from training.config.data import AugmentConfig, DataConfig
from training.config.experiment import Config, DecodeConfig
from training.config.model import ModelConfig
from training.config.optim import OptimConfig
from training.data.dataset import Sample
from training.data.synthetic import NucleiDataset
from training.loop.checkpoint import Checkpoint
from training.metrics.score import Score


@dataclass(slots=True)
class Recorder:
    """Remembers what a run reported."""

    begun: list[int] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)
    masks: list[float] = field(default_factory=list)
    fractions: list[float] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)

    def on_begin(self, state: Checkpoint) -> None:
        """Remember the step."""
        self.begun.append(state.step)

    def on_step(self, state: Checkpoint, fraction: float, terms: Any) -> None:
        """Remember the loss."""
        self.totals.append(terms["total"])
        self.masks.append(terms["foreground/total"])
        self.fractions.append(fraction)

    def on_validation(self, state: Checkpoint, score: Score, *, best: bool) -> None:
        """Remember the score."""
        self.scores.append(score)

    def on_example(
        self, state: Checkpoint, sample: Sample, prediction: Prediction, labels: Any
    ) -> None:
        """Remember which image was shown."""
        self.shown.append(sample.name)


@pytest.fixture(autouse=True)
def _the_same_chance_every_time() -> None:
    """Seed what networks and tests draw, so that no outcome hangs on the order of the tests."""
    torch.manual_seed(0)


def three_images(dimensions: int) -> tuple[Tensor, Tensor]:
    """Draw vectors and labels of images with four instances, with one, and with none."""
    labels = torch.zeros(3, 8, 8, dtype=torch.int64)
    labels[0] = 1 + torch.arange(8)[:, None] // 4 * 2 + torch.arange(8) // 4
    labels[1, 2:5, 1:7] = 3
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(3, dimensions, 8, 8, generator=generator, dtype=torch.float64)
    return vectors.requires_grad_(), labels


def gradient(loss: Tensor, of: Tensor) -> Tensor:
    """Give the gradient of a loss."""
    return torch.autograd.grad(loss, of)[0]


def most_kept(loss: Callable[[], object]) -> int:
    """Count the numbers of the largest tensor that a computation keeps for its gradient."""
    sizes = []

    def note(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss()
    return max(sizes)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Keep tiny networks on one core: handing them out costs more than computing them."""
    torch.set_num_threads(1)


@pytest.fixture
def recorder() -> Recorder:
    """A fresh record."""
    return Recorder()


TINY = Config(
    name="tiny",
    category="nucleus",
    data=DataConfig(kind="nuclei", image_size=64, val_images=2, min_objects=3, max_objects=6),
    augment=AugmentConfig(crop=64),
    model=ModelConfig(
        widths=(8, 12), stem=2, embedding_size=3, coordinates="periodic", position_px=4.0
    ),
    optim=OptimConfig(
        batch=2,
        steps=6,
        warmup_steps=2,
        validate_every_s=0,
        validate_every_steps=3,
        learning_rate=1e-2,
    ),
    decode=DecodeConfig(settings={"bandwidth": 1.5, "min_pixels": 8}),
)


@pytest.fixture
def tiny() -> Config:
    """An experiment of six steps."""
    return TINY


@pytest.fixture
def short(tiny: Config) -> Config:
    """The same, stopped after four steps."""
    return replace(tiny, optim=replace(tiny.optim, steps=4))


def drawn(count: int, *, seed: int) -> NucleiDataset:
    """Draw small images of few nuclei."""
    return NucleiDataset(count=count, seed=seed, size=64, min_objects=3, max_objects=6, radius_px=8)


@pytest.fixture
def train_set() -> NucleiDataset:
    """Eight drawn images."""
    return drawn(8, seed=0)


@pytest.fixture
def val_set() -> NucleiDataset:
    """Two others."""
    return drawn(2, seed=1)
