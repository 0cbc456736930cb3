"""Run an experiment."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path

from training.commands.command import Command, console, tell
from training.config.experiment import Config
from training.config.read import load
from training.data.dataset import DataError, Dataset
from training.data.opening import open_datasets
from training.loop import engine
from training.loop.checkpoint import CheckpointError
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
    overrides = list(options.overrides)
    if options.max_minutes is not None:
        overrides.append(f"optim.max_minutes={options.max_minutes}")
    config = load(options.config, overrides)
    folder = options.runs / config.name
    if options.resume and not (folder / "last.pt").is_file():
        raise CheckpointError(f"{folder / 'last.pt'}: no run to resume; begin it without --resume")
    with joined() as ranks:
        train_set, val_set = _open(config, options.data, ranks)
        with RunReport(folder, console) if ranks.is_first else nullcontext(Silence()) as reporter:
            state = engine.train(config, train_set, val_set, folder, reporter, ranks=ranks)
    if ranks.is_first:
        minutes = state.elapsed_s / 60
        console.print(f"{folder}: finished, {state.step} steps, {minutes:.1f} min", markup=False)


def _open(config: Config, root: Path, ranks: Ranks) -> tuple[Dataset, Dataset]:
    """Open the data; of the processes of a machine, one says what is wrong with it."""
    if ranks.size == 1:
        return open_datasets(config, root)
    found = None
    try:
        found = open_datasets(config, root, processes=local_processes())
    except DataError as error:
        if is_first_here():
            tell(error)
    # All wait for all: torchrun ends the others with the first that ends, said or not.
    if ranks.any(failed=found is None) or found is None:
        raise SystemExit(1)
    return found


COMMAND = Command("train", "run an experiment, or continue it", add_arguments, run)
