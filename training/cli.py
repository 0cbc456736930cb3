"""The command line of training: the only place that parses arguments or prints."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter

from training import config as configs
from training import engine
from training.checkpoint import Checkpoint
from training.config import Config
from training.data.dataset import CachedDataset, DataError, Dataset, FolderDataset
from training.data.synthetic import NucleiDataset, SticksDataset


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        options.run(options)
    except (DataError, configs.ConfigError, engine.NotFinite) as error:
        print(error)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(required=True)
    train = commands.add_parser("train", help="run an experiment, or continue it")
    train.set_defaults(run=_train)
    train.add_argument("config", type=Path)
    train.add_argument("--data", type=Path, default=Path("../shared/data/dsb2018"))
    train.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    train.add_argument("--runs", type=Path, default=Path("runs"))
    train.add_argument("--max-minutes", type=float)
    train.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser


def _train(options: argparse.Namespace) -> None:
    overrides = list(options.overrides)
    if options.max_minutes is not None:
        overrides.append(f"optim.max_minutes={options.max_minutes}")
    config = configs.load(options.config, overrides)
    folder = options.runs / config.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config.to_dict(), indent=1))
    train_set, val_set = open_datasets(config, options.data)
    with SummaryWriter(str(folder)) as writer:
        engine.train(config, train_set, val_set, folder, _Log(writer))


def open_datasets(config: Config, root: Path) -> tuple[Dataset, Dataset]:
    """Open the training and validation data, checked."""
    data = config.data
    if data.kind == "sticks":
        sticks = dict(size=data.image_size, min_sticks=data.min_objects, max_sticks=data.max_objects)
        return (
            SticksDataset(count=10**9, seed=config.seed, **sticks),
            SticksDataset(count=data.val_images, seed=config.seed + 1, **sticks),
        )
    if data.kind == "nuclei":
        return (
            NucleiDataset(count=10**9, seed=config.seed, size=data.image_size),
            NucleiDataset(count=data.val_images, seed=config.seed + 1, size=data.image_size),
        )
    opened = [FolderDataset.open(root, split, data.labels) for split in (data.train, data.val)]
    problems = [problem for dataset in opened for problem in dataset.check()]
    if problems:
        raise DataError(problems)
    return CachedDataset(opened[0]), CachedDataset(opened[1])


class _Log:
    """Prints and records a run."""

    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer
        self._last = time.monotonic()
        self._sums: dict[str, float] = {}
        self._count = 0

    def on_step(self, state: Checkpoint, fraction: float, terms: Mapping[str, float]) -> None:
        """Print the means over the last ten seconds."""
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        if time.monotonic() - self._last < 20:
            return
        text = "  ".join(f"{name} {value / self._count:.4f}" for name, value in self._sums.items())
        per_step = (time.monotonic() - self._last) / self._count
        print(f"{fraction:6.1%} step {state.step} {per_step:.2f}s  {text}", flush=True)
        for name, value in self._sums.items():
            self._writer.add_scalar(name, value / self._count, state.step)
        self._sums, self._count, self._last = {}, 0, time.monotonic()

    def on_validation(self, state: Checkpoint, score: engine.Score, *, best: bool) -> None:
        """Print and record the result."""
        aps = "  ".join(f"AP@{t} {score.ap(t):.3f}" for t in engine.THRESHOLDS)
        mark = " best" if best else ""
        print(
            f"validation at step {state.step}, {state.elapsed_s / 60:.1f} min: {aps}  "
            f"mean {score.mean_ap:.3f}  PQ {score.pq:.3f}  SBD {score.sbd:.3f}  "
            f"FBD {score.fbd:.3f}  |DiC| {score.abs_dic:.2f}{mark}",
            flush=True,
        )
        for threshold in engine.THRESHOLDS:
            self._writer.add_scalar(f"validation/ap{threshold}", score.ap(threshold), state.step)
        self._writer.add_scalar("validation/mean_ap", score.mean_ap, state.step)
        self._writer.add_scalar("validation/sbd", score.sbd, state.step)
        self._last = time.monotonic()
