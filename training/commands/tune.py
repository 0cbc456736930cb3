"""Search decoder settings."""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import islice

from training.commands.command import Command, console
from training.commands.opening import add_checkpoint, open_checkpoint
from training.commands.show import print_score
from training.config.checks import require
from training.config.experiment import DecodeConfig
from training.data.opening import open_datasets
from training.loop import checkpoint
from training.scoring.augmented import AugmentedNetwork
from training.scoring.calibration import fit_calibration
from training.scoring.decoding import Network, TorchNetwork, recipe_of
from training.scoring.tuning import tune


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_checkpoint(command)
    command.add_argument(
        "--tta", action="store_true",
        help="search for `evaluate --tta --decode ...`, and leave the checkpoint as it is",
    )  # fmt: skip
    command.add_argument(
        "--keep", action="store_true",
        help="keep the settings as they are, and fit the curve of the scores alone",
    )  # fmt: skip


def run(options: argparse.Namespace) -> None:
    """Print every setting tried and store the best in the checkpoint."""
    state, model = open_checkpoint(options.checkpoint)
    _, val_set = open_datasets(state.config, options.data)
    require(len(val_set) > 0, "nothing to tune on: data.val of the run is empty")
    # The curve is fitted to scores that none has bent yet.
    recipe = replace(recipe_of(state.config), score_calibration=())
    network: Network = TorchNetwork(model, recipe)
    if options.tta:
        joined = AugmentedNetwork(network, recipe)
        network, recipe = joined, joined.recipe
    trial = None
    for trial in islice(tune(network, val_set, recipe), 1 if options.keep else None):
        settings = {"foreground_threshold": trial.recipe.foreground_threshold}
        text = " ".join(f"{k}={v:g}" for k, v in {**settings, **trial.recipe.decoder}.items())
        console.print(f"mean AP {trial.score.mean_ap:.4f}  {text}", markup=False)
    if trial is None:
        return
    if options.tta:
        print_score("best, the last line above", trial.score)
        return
    decode = DecodeConfig(
        foreground_threshold=trial.recipe.foreground_threshold,
        settings=dict(trial.recipe.decoder),
        score_calibration=fit_calibration(*trial.score.outcomes()),
    )
    state.config = replace(state.config, decode=decode)
    checkpoint.save(options.checkpoint, state)
    print_score("best, stored in the checkpoint", trial.score)


COMMAND = Command(
    "tune", "search decoder settings on validation data and store them", add_arguments, run
)
