"""Rebuild the page of results."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.commands.command import Command, console
from training.report.results import write_results


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    command.add_argument("--records", type=Path, default=Path("docs/results"))
    command.add_argument("--out", type=Path, default=Path("docs/RESULTS.md"))


def run(options: argparse.Namespace) -> None:
    """Write the page from the recorded evaluations."""
    options.out.write_text(write_results(options.records))
    console.print(f"wrote {options.out}", markup=False)


COMMAND = Command("table", "rebuild docs/RESULTS.md from recorded evaluations", add_arguments, run)
