"""Write how a server is to run the models of a repository, without exporting them anew."""

from __future__ import annotations

import argparse

from google.protobuf import text_format

from service.errors import ArtefactError
from training.commands import check_repository
from training.commands.command import Command, console
from training.deployment.export import ExportError
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
    try:
        folders = network_folders(options.repository)
        if not folders:
            raise ExportError(f"{options.repository} holds no model folder")
        for folder in folders:
            path = configure(folder, buckets=options.buckets)
            console.print(f"wrote {path}", markup=False)
    except (ArtefactError, text_format.ParseError) as error:
        raise ExportError(f"{options.repository}: {error}") from error


COMMAND = Command(
    "configure", "write the models' configuration for the server anew", add_arguments, run
)
