"""Write the models' configuration for GPUs."""

from __future__ import annotations

import argparse

from training.commands.check_repository import add_arguments
from training.commands.command import Command, console
from training.deployment.gpu_config import VARIANT, write_variants


def run(options: argparse.Namespace) -> None:
    """Write the variant of every model folder."""
    for path in write_variants(options.repository):
        console.print(f"{path}: tritonserver --model-config-name={VARIANT} reads it")


COMMAND = Command("tensorrt", "write the models' configuration for GPUs", add_arguments, run)
