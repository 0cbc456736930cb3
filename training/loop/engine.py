"""Train: plain functions, readable from top to bottom."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from service.arrays import Int32
from service.domain import Prediction
from training.config.experiment import Config
from training.data.dataset import Dataset, Sample
from training.loop import checkpoint as checkpoints
from training.loop import schedule
from training.loop.batches import Batches, batch_at
from training.loop.checkpoint import Checkpoint
from training.loop.compiling import compile_network
from training.loop.ranks import Ranks
from training.loop.run import Run, open_run, save_run
from training.losses.targets import Targets
from training.losses.total import losses
from training.metrics.score import Score
from training.scoring.decoding import TorchNetwork, read, recipe_of
from training.scoring.evaluation import evaluate

EXAMPLES = 2
"""Validation images that are shown after every validation."""


class NotFinite(RuntimeError):
    """The loss or its gradient is NaN or infinite; the batch was saved."""


class Reporter(Protocol):
    """Who is told how a run goes."""

    def on_begin(self, state: Checkpoint) -> None:
        """Receive where the run begins, or goes on."""

    def on_step(self, state: Checkpoint, fraction: float, terms: Mapping[str, float]) -> None:
        """Receive the loss terms of a step; `fraction` of the run is done."""

    def on_validation(self, state: Checkpoint, score: Score, *, best: bool) -> None:
        """Receive the validation result."""

    def on_example(
        self,
        state: Checkpoint,
        sample: Sample,
        prediction: Prediction,
        labels: Int32,
    ) -> None:
        """Receive what the network makes of one validation image."""


def train(
    config: Config,
    train_set: Dataset,
    val_set: Dataset,
    folder: Path,
    reporter: Reporter,
    *,
    ranks: Ranks | None = None,
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
        Is told of the beginning, of every step, and in the first process of every validation.
    ranks : Ranks, optional
        The processes that train together; alone when absent.

    Raises
    ------
    NotFinite
        If the loss or its gradient is NaN or infinite; what the step was to learn from lies in
        ``folder/not-finite.pt``.
    CheckpointError
        If the run in `folder` is of another network.
    CompileError
        If the network was to be compiled and could not be, or not rightly.
    """
    optim = config.optim
    with _algorithms(deterministic=optim.deterministic):
        run = open_run(config, train_set, folder, ranks or Ranks())
        reporter.on_begin(run.state)
        network = run.ranks.join(run.model)
        if optim.compile and not schedule.finished(run.state):
            images, _ = batch_at(train_set, config, 0)
            compile_network(network, images.to(run.ranks.device), bfloat16=optim.bfloat16)
        _loop(run, network, train_set, val_set, reporter)
    return run.state


def _loop(
    run: Run, network: nn.Module, train_set: Dataset, val_set: Dataset, reporter: Reporter
) -> None:
    state, ranks = run.state, run.ranks
    batches = Batches(train_set, state.config, ranks)
    supply = batches.starting_at(state.step)
    started_s = time.monotonic() - state.elapsed_s
    while not schedule.finished(state):
        began_s, done = state.elapsed_s, schedule.fraction(state)
        if schedule.is_calm(state):
            batches.turn_calm()
        terms = _step(run, network, supply)
        state.step += 1
        _follow(run.average, run.model, decay=schedule.ema_decay(state))
        (state.elapsed_s,) = ranks.share([time.monotonic() - started_s])
        reporter.on_step(state, done, terms)
        if schedule.finished(state) or schedule.validation_due(state, began_s):
            if ranks.is_first:
                _validate(run, val_set, reporter)
            # With the clock: what a validation takes must not make the next one due.
            state.best, since_best, state.elapsed_s = ranks.share(
                [state.best, state.since_best, time.monotonic() - started_s]
            )
            state.since_best = int(since_best)
            save_run(run)
        elif schedule.snapshot_due(state, began_s):
            save_run(run)


def _step(
    run: Run, network: nn.Module, supply: Iterator[tuple[Tensor, Targets]]
) -> dict[str, float]:
    """Learn from one batch of each process, or from several whose gradients are added up."""
    optim, rate = run.state.config.optim, schedule.learning_rate(run.state)
    run.model.train()
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.optimizer.zero_grad(set_to_none=True)
    batches: list[tuple[Tensor, Targets]] = []
    parts: list[dict[str, Tensor]] = []
    for part in range(optim.accumulate):
        batches.append(next(supply))
        with run.ranks.exchanging(network, when=part == optim.accumulate - 1):
            terms = _losses(run, network, *batches[-1], part)
            torch.autograd.backward([terms["total"] / optim.accumulate])
        parts.append({name: value.detach() for name, value in terms.items()})
    norm = nn.utils.clip_grad_norm_(run.model.parameters(), optim.clip)
    means = _means(parts, run.ranks)
    # A loss that is finite can have a gradient that is not, which would spoil the weights.
    for name, value in (("loss", means["total"]), ("gradient", float(norm))):
        if not math.isfinite(value):
            raise NotFinite(_save_batch(run, batches, name))
    run.optimizer.step()
    return means | {"rate": rate}


def _losses(
    run: Run, network: nn.Module, images: Tensor, targets: Targets, part: int
) -> dict[str, Tensor]:
    config, ranks = run.state.config, run.ranks
    number = (run.state.step * config.optim.accumulate + part) * ranks.size + ranks.rank
    # Dropout draws from the global generator, losses that sample from their own: seeded with the
    # number of the batch, both draw the same after an interruption.
    torch.manual_seed(config.seed + number)
    generator = torch.Generator().manual_seed(config.seed + number)
    with torch.autocast(ranks.device.type, torch.bfloat16, enabled=config.optim.bfloat16):
        outputs = network(images)
    return losses(outputs, targets, config.loss, generator)


def _means(parts: Sequence[Mapping[str, Tensor]], ranks: Ranks) -> dict[str, float]:
    """Average the terms over the batches of a step, and the total over the processes, too."""
    sums: dict[str, Tensor] = {}
    for terms in parts:
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + value / len(parts)
    sums["total"] = ranks.mean(sums["total"])
    # One transfer for all: every one of them would make a GPU wait.
    return dict(zip(sums, torch.stack(list(sums.values())).tolist(), strict=True))


def _save_batch(run: Run, batches: Sequence[tuple[Tensor, Targets]], what: str) -> str:
    """Save what a step was to learn from, and say where it is and how the run can go on."""
    name = "not-finite.pt" if run.ranks.is_first else f"not-finite-{run.ranks.rank}.pt"
    content = {
        "images": torch.cat([images for images, _ in batches]),
        "labels": torch.cat([targets.labels for _, targets in batches]),
        "step": run.state.step,
    }
    torch.save(content, run.folder / name)
    return (
        f"step {run.state.step}: the {what} is not finite; the batch is in {run.folder / name}. "
        "Continued as it is, the run comes to it again: lower optim.learning_rate"
    )


@torch.no_grad()
def _follow(average: nn.Module, model: nn.Module, *, decay: float) -> None:
    """Move the running average; counters are copied."""
    tensors = zip(average.state_dict().values(), model.state_dict().values(), strict=True)
    for kept, new in tensors:
        if kept.dtype.is_floating_point:
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


def _validate(run: Run, val_set: Dataset, reporter: Reporter) -> None:
    """Score the running average, and keep it where it is the best so far or nothing scores it."""
    state = run.state
    # The smallest score belongs to a curve that was fitted to other weights than these.
    recipe = replace(recipe_of(state.config), min_score=0.0)
    if not len(val_set):
        _keep(run)
        return
    network = TorchNetwork(run.average, recipe, bfloat16=state.config.optim.bfloat16)
    score = evaluate(network, val_set, recipe)
    best = score.mean_ap > state.best
    state.since_best = 0 if best else state.since_best + 1
    if best:
        state.best = score.mean_ap
        _keep(run)
    reporter.on_validation(state, score, best=best)
    for index in range(min(EXAMPLES, len(val_set))):
        sample = val_set[index]
        prediction = network.predict(sample.image)
        labels = read(prediction, recipe, sample.labels.shape)
        reporter.on_example(state, sample, prediction, labels)


def _keep(run: Run) -> None:
    run.state.average = run.average.state_dict()
    checkpoints.save(run.folder / "best.pt", run.state)


@contextmanager
def _algorithms(*, deterministic: bool) -> Iterator[None]:
    """Ask for algorithms that repeat to the last bit, or let the fastest be searched."""
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Where CUDA has no such algorithm, PyTorch warns and goes on.
    torch.use_deterministic_algorithms(deterministic, warn_only=torch.cuda.is_available())
    torch.backends.cudnn.benchmark = not deterministic
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]
