"""Run an experiment."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from training import engine
from training.commands.command import Command, console
from training.config.read import load
from training.data.opening import open_datasets
from training.progress import RunReport


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    command.add_argument("config", type=Path, help="TOML file of the experiment")
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
        help="override one setting, such as optim.batch=4",
    )  # fmt: skip
    command.add_argument("--runs", type=Path, default=Path("runs"))
    command.add_argument("--max-minutes", type=float)


def run(options: argparse.Namespace) -> None:
    """Train, with the resolved configuration beside the run."""
    overrides = list(options.overrides)
    if options.max_minutes is not None:
        overrides.append(f"optim.max_minutes={options.max_minutes}")
    config = load(options.config, overrides)
    train_set, val_set = open_datasets(config, options.data)
    folder = options.runs / config.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config.to_dict(), indent=1) + "\n")
    with SummaryWriter(str(folder)) as writer, RunReport(writer, console) as report:
        engine.train(config, train_set, val_set, folder, report)


COMMAND = Command("train", "run an experiment, or continue it", add_arguments, run)
