"""Write how a server is to run the models of a repository, without exporting them anew."""

from __future__ import annotations

import argparse

from training.commands import check_repository
from training.commands.command import Command, console
from training.deployment.server_config import configure, network_folders


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    check_repository.add_arguments(command)
    command.add_argument(
        "--buckets",
        type=int,
        nargs="*",
        metavar="PIXELS",
        help="sides that images are padded to, so that batches form; none: any size; "
        "without --buckets it stays as it is",
    )


def run(options: argparse.Namespace) -> None:
    """Write the configuration of every model folder."""
    for folder in network_folders(options.repository):
        path = configure(folder, buckets=options.buckets)
        console.print(f"wrote {path}", markup=False)


COMMAND = Command(
    "configure", "write the models' configuration for the server anew", add_arguments, run
)
