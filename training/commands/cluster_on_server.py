"""Have the inference server cluster as well."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.commands.command import Command, console
from training.deployment.server_clustering import write_clustering


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    command.add_argument("folder", type=Path, help="the model folder of the network")


def run(options: argparse.Namespace) -> None:
    """Write the two model folders."""
    stage, whole = write_clustering(options.folder)
    console.print(f"wrote {stage} and {whole}; ask for model={whole.name}", markup=False)


COMMAND = Command(
    "cluster-on-server", "write a model whose clustering runs on the server", add_arguments, run
)
