"""Train and evaluate: plain functions, readable from top to bottom."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from service.domain import Prediction
from service.recipe import Recipe
from training import checkpoint as checkpoints
from training.checkpoint import Checkpoint
from training.config.experiment import Config
from training.data.dataset import Dataset, Sample
from training.data.transforms import train_crop
from training.decoding import Network, TorchNetwork, read, recipe_of, samples, segment
from training.encoder_weights import SUFFIXES, load_encoder
from training.losses.targets import Targets
from training.losses.total import losses
from training.metrics.score import Score, score_labels
from training.models.build import build_network
from training.models.network import PixelNetwork
from training.warm_start import warm_start

EXAMPLES = 2
"""Validation images that are shown after every validation."""


class NotFinite(RuntimeError):
    """The loss is NaN or infinite; the batch was saved."""


class Reporter(Protocol):
    """Who is told how a run goes."""

    def on_step(self, state: Checkpoint, fraction: float, terms: Mapping[str, float]) -> None:
        """Receive the loss terms of a step; `fraction` of the run is done."""

    def on_validation(self, state: Checkpoint, score: Score, *, best: bool) -> None:
        """Receive the validation result."""

    def on_example(
        self,
        state: Checkpoint,
        sample: Sample,
        prediction: Prediction,
        labels: npt.NDArray[np.int32],
    ) -> None:
        """Receive what the network makes of one validation image."""


def build_model(config: Config) -> PixelNetwork:
    """Build the network with weights that follow from the seed."""
    torch.manual_seed(config.seed)
    return build_network(config.model, method=config.loss.method, classes=len(config.classes))


def train(
    config: Config, train_set: Dataset, val_set: Dataset, folder: Path, reporter: Reporter
) -> Checkpoint:
    """Run an experiment, or continue it where ``folder/last.pt`` exists.

    Parameters
    ----------
    config : Config
        The experiment.
    train_set, val_set : Dataset
        Checked before.
    folder : Path
        Receives ``last.pt`` and ``best.pt``.
    reporter : Reporter
        Is told of every step and validation.

    Raises
    ------
    NotFinite
        If the loss is NaN or infinite; the batch lies in ``folder/not-finite.pt``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, average = build_model(config).to(device), build_model(config).to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), config.optim.learning_rate, weight_decay=config.optim.weight_decay
    )
    if config.start and not (folder / "last.pt").is_file():
        images, _ = batch_at(train_set, config, 0)
        for network in (model, average):
            _begin_with(network, Path(config.start), images.to(device))
    state = _restore(folder / "last.pt", config, model, average, optimizer)
    started, validated_s, validated_step = time.monotonic(), state.elapsed_s, state.step
    saved_s = state.elapsed_s
    before_s = state.elapsed_s
    while (fraction := _fraction(state)) < 1 and not _exhausted(state):
        terms = _step(model, optimizer, train_set, state, folder)
        state.step += 1
        _follow(average, model, decay=min(config.optim.ema, (1 + state.step) / (10 + state.step)))
        state.elapsed_s = before_s + time.monotonic() - started
        reporter.on_step(state, fraction, terms)
        if _due(state, validated_s, validated_step):
            _validate(average, val_set, state, folder, reporter)
            _snapshot(folder, state, model, average, optimizer)
            validated_s, validated_step = state.elapsed_s, state.step
        elif state.elapsed_s - saved_s >= config.optim.save_every_s:
            _snapshot(folder, state, model, average, optimizer)
            saved_s = state.elapsed_s
    if state.step > validated_step or state.best < 0:
        _validate(average, val_set, state, folder, reporter)
    _snapshot(folder, state, model, average, optimizer)
    return state


def _begin_with(network: nn.Module, path: Path, images: Tensor) -> None:
    if path.suffix in SUFFIXES:
        load_encoder(network, path)
    else:
        warm_start(network, path, images)


def evaluate(network: Network, dataset: Dataset, recipe: Recipe) -> Score:
    """Label every image with the code that serves, and score it."""
    return Score(
        tuple(
            score_labels(sample.name, sample.labels, segment(network, sample.image, recipe))
            for sample in samples(dataset)
        )
    )


def batch_at(
    dataset: Dataset, config: Config, step: int, *, calm: bool = False
) -> tuple[Tensor, Targets]:
    """Draw the batch of a step: all randomness follows from seed and step, so a run can resume.

    Parameters
    ----------
    dataset : Dataset
        Where crops are cut.
    config : Config
        Batch size, seed and augmentation.
    step : int
        Which batch.
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
        rng = np.random.default_rng([config.seed, step, slot])
        crops.append(train_crop(dataset[int(rng.integers(len(dataset)))], rng, augment))
    images, labels, classes = (
        torch.from_numpy(np.stack(part)) for part in zip(*crops, strict=True)
    )
    return images.permute(0, 3, 1, 2).contiguous(), Targets(labels.long(), classes.long())


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    dataset: Dataset,
    state: Checkpoint,
    folder: Path,
) -> dict[str, float]:
    config = state.config
    model.train()
    rate = _learning_rate(state)
    calm = _fraction(state) >= config.augment.calm_after
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    for part in range(config.optim.accumulate):
        step = state.step * config.optim.accumulate + part
        images, targets = batch_at(dataset, config, step, calm=calm)
        device = next(model.parameters()).device
        images, targets = images.to(device), targets.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=config.optim.bfloat16):
            outputs = model(images)
        generator = torch.Generator().manual_seed(config.seed + step)
        terms = losses(outputs, targets, config.loss, generator)
        if not torch.isfinite(terms["total"]):
            path = folder / "not-finite.pt"
            torch.save({"images": images, "labels": targets.labels, "step": state.step}, path)
            raise NotFinite(f"step {state.step}: the loss is not finite; the batch is in {path}")
        torch.autograd.backward([terms["total"] / config.optim.accumulate])
    nn.utils.clip_grad_norm_(model.parameters(), config.optim.clip)
    optimizer.step()
    return {name: float(value.detach()) for name, value in terms.items()} | {"rate": rate}


def _learning_rate(state: Checkpoint) -> float:
    optim = state.config.optim
    warm = min(1.0, (state.step + 1) / max(optim.warmup_steps, 1))
    return float(optim.learning_rate * warm * (0.5 + 0.5 * np.cos(np.pi * _fraction(state))))


def _fraction(state: Checkpoint) -> float:
    """Tell how much of the run is done, by steps or by the clock, whichever is further on."""
    optim = state.config.optim
    done = state.step / optim.steps
    if optim.max_minutes > 0:
        done = max(done, state.elapsed_s / (60 * optim.max_minutes))
    return done


def _exhausted(state: Checkpoint) -> bool:
    return 0 < state.config.optim.patience <= state.since_best


def _due(state: Checkpoint, validated_s: float, validated_step: int) -> bool:
    optim = state.config.optim
    every_s, every_steps = optim.validate_every_s, optim.validate_every_steps
    return (every_s > 0 and state.elapsed_s - validated_s >= every_s) or (
        every_steps > 0 and state.step - validated_step >= every_steps
    )


@torch.no_grad()
def _follow(average: nn.Module, model: nn.Module, *, decay: float) -> None:
    """Move the running average; counters are copied."""
    for kept, new in zip(_tensors(average), _tensors(model), strict=True):
        if kept.dtype.is_floating_point:
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


def _tensors(model: nn.Module) -> Sequence[Tensor]:
    return list(model.state_dict().values())


def _validate(
    average: nn.Module,
    val_set: Dataset,
    state: Checkpoint,
    folder: Path,
    reporter: Reporter,
) -> None:
    config = state.config
    network = TorchNetwork(average, recipe_of(config), bfloat16=config.optim.bfloat16)
    score = evaluate(network, val_set, recipe_of(config))
    best = score.mean_ap > state.best
    state.since_best = 0 if best else state.since_best + 1
    if best:
        state.best = score.mean_ap
        state.average = average.state_dict()
        checkpoints.save(folder / "best.pt", state)
    reporter.on_validation(state, score, best=best)
    for index in range(min(EXAMPLES, len(val_set))):
        sample = val_set[index]
        prediction = network.predict(sample.image)
        labels = read(prediction, recipe_of(config), sample.labels.shape)
        reporter.on_example(state, sample, prediction, labels)


def _snapshot(
    folder: Path,
    state: Checkpoint,
    model: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> None:
    state.model, state.average = model.state_dict(), average.state_dict()
    state.optimizer = optimizer.state_dict()
    checkpoints.save(folder / "last.pt", state)


def _restore(
    path: Path,
    config: Config,
    model: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> Checkpoint:
    if not path.is_file():
        return Checkpoint(config, model.state_dict(), average.state_dict())
    state = checkpoints.load(path)
    model.load_state_dict(state.model)
    average.load_state_dict(state.average)
    optimizer.load_state_dict(state.optimizer)
    state.config = config
    return state
