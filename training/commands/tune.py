"""Search decoder settings."""

from __future__ import annotations

import argparse
from dataclasses import replace

from training import checkpoint
from training.commands.command import Command, console
from training.commands.opening import add_checkpoint, open_checkpoint
from training.commands.show import print_score
from training.config.experiment import DecodeConfig
from training.data.opening import open_datasets
from training.decoding import TorchNetwork, recipe_of
from training.tuning import tune


def run(options: argparse.Namespace) -> None:
    """Print every setting tried and store the best in the checkpoint."""
    state, model = open_checkpoint(options.checkpoint)
    _, val_set = open_datasets(state.config, options.data)
    recipe = recipe_of(state.config)
    trial = None
    for trial in tune(TorchNetwork(model, recipe), val_set, recipe):
        settings = {"threshold": trial.recipe.foreground_threshold, **trial.recipe.decoder}
        console.print(f"mean AP {trial.score.mean_ap:.4f}  {settings}", markup=False)
    if trial is not None:
        decode = DecodeConfig(
            foreground_threshold=trial.recipe.foreground_threshold,
            settings=dict(trial.recipe.decoder),
        )
        state.config = replace(state.config, decode=decode)
        checkpoint.save(options.checkpoint, state)
        print_score("best, stored in the checkpoint", trial.score)


COMMAND = Command(
    "tune", "search decoder settings on validation data and store them", add_checkpoint, run
)
