"""Compare the networks."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.commands import record
from training.commands.command import Command, console, positive
from training.config.read import load
from training.report.comparison import compare, facts
from training.report.network_table import table


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    command.add_argument(
        "config", type=Path, nargs="?", default=Path("training/configs/networks.toml"),
        help="experiment whose method and embedding they share",
    )  # fmt: skip
    command.add_argument("--side", type=positive, default=256, help="of the image, in pixels")
    command.add_argument("--rounds", type=positive, default=20)
    command.add_argument(
        "--records", type=Path, default=Path("docs/results"), help="where accuracy is recorded"
    )
    command.add_argument("--record", type=Path, help="folder that `table` reads")


def run(options: argparse.Namespace) -> None:
    """Print the table, and record it on request."""
    config = load(options.config)
    measured = compare(config, side=options.side, rounds=options.rounds, threads=options.threads)
    found = facts(config, measured, side=options.side, threads=options.threads)
    for row in table(found, options.records):
        console.print(row, markup=False)
    if options.record is not None:
        found["command"] = record.command_line()
        record.write(options.record / f"{config.name}-speed.json", found)


COMMAND = Command(
    "compare-networks", "time and count the networks side by side", add_arguments, run
)
