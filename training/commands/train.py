"""Run an experiment."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

from training.commands.command import Command, console, tell
from training.config.checks import ConfigError
from training.config.experiment import Config
from training.config.read import load
from training.data.dataset import DataError
from training.data.opening import open_datasets
from training.loop import engine
from training.loop.checkpoint import CheckpointError
from training.loop.claim import claimed
from training.loop.progress import RunReport, Silence
from training.loop.ranks import Ranks, is_first_here, joined, local_processes


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    command.add_argument("config", type=Path, help="TOML file of the experiment")
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
        help="override one setting, such as optim.batch=4",
    )  # fmt: skip
    command.add_argument("--runs", type=Path, default=Path("runs"))
    command.add_argument("--max-minutes", type=float)
    command.add_argument(
        "--resume", action="store_true", help="continue; fail where there is no run to continue"
    )


def run(options: argparse.Namespace) -> None:
    """Train, alone or as one of the processes that torchrun started."""
    with joined() as ranks, ExitStack() as held:
        with _told_once(ranks):
            config = _configured(options)
            folder = options.runs / config.name
            if ranks.is_first:
                held.enter_context(claimed(folder))
            train_set, val_set = open_datasets(config, options.data, processes=local_processes())
        with RunReport(folder, console) if ranks.is_first else nullcontext(Silence()) as reporter:
            state = engine.train(config, train_set, val_set, folder, reporter, ranks=ranks)
    if ranks.is_first:
        minutes = state.elapsed_s / 60
        console.print(f"{folder}: finished, {state.step} steps, {minutes:.1f} min", markup=False)


def _configured(options: argparse.Namespace) -> Config:
    overrides = list(options.overrides)
    if options.max_minutes is not None:
        overrides.append(f"optim.max_minutes={options.max_minutes}")
    config = load(options.config, overrides)
    last = options.runs / config.name / "last.pt"
    if options.resume and not last.is_file():
        raise CheckpointError(f"{last}: no run to resume; begin it without --resume")
    return config


@contextmanager
def _told_once(ranks: Ranks) -> Iterator[None]:
    """End all processes where one of them fails, and say why once on every machine."""
    wrong: list[str] = []
    try:
        yield
    except (CheckpointError, ConfigError, DataError, OSError) as error:
        if ranks.size == 1:
            raise
        wrong = str(error).splitlines()
    if wrong := ranks.gather(wrong):
        if is_first_here():
            tell(DataError(wrong))
        ranks.wait()  # torchrun ends the others with the first that ends, said or not
        raise SystemExit(1)


COMMAND = Command("train", "run an experiment, or continue it", add_arguments, run)
