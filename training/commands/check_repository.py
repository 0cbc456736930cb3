"""Look at model folders before a server does."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.commands.command import Command, console
from training.deployment.export import ExportError
from training.deployment.repository import check_repository


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    command.add_argument("repository", type=Path, nargs="?", default=Path("model_repository"))


def run(options: argparse.Namespace) -> None:
    """Print what is wrong with each folder; fail where something is."""
    found = check_repository(options.repository)
    for name, problems in found.items():
        console.print(f"{name}: {'in order' if not problems else ''}")
        for problem in problems:
            console.print(f"  {problem}", markup=False)
    if not found or any(found.values()):
        raise ExportError(f"{options.repository} cannot be served as it stands")


COMMAND = Command("check-repository", "say what is wrong with model folders", add_arguments, run)
