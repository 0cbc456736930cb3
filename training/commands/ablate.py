"""Tell what each half of a model costs."""

from __future__ import annotations

import argparse

from training.ablation import ablate
from training.commands.command import Command, console
from training.commands.evaluate import add_arguments
from training.commands.opening import open_model, open_split
from training.progress import line


def run(options: argparse.Namespace) -> None:
    """Print the score with predicted and true foreground, clustered and true grouping."""
    network, recipe, _, config = open_model(options)
    for foreground, grouping, score in ablate(network, open_split(options, config, recipe), recipe):
        console.print(f"{foreground} foreground, {grouping}: {line(score)}", markup=False)


COMMAND = Command("ablate", "tell what foreground and grouping cost", add_arguments, run)
