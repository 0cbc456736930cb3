"""Search decoder settings."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from service.recipe import Recipe
from training.commands.command import Command, console
from training.commands.opening import add_data, add_decode, open_model, open_scored
from training.commands.show import print_score
from training.config.experiment import DecodeConfig
from training.deployment.retune import retune
from training.loop import checkpoint
from training.report.card import with_decode
from training.scoring.refining import refine
from training.scoring.tuning import refitted, tune, usual_diameter


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    command.add_argument("model", type=Path, help="checkpoint or model folder, which is changed")
    command.add_argument("--split", help="list of the data folder; default: the validation list")
    add_data(command)
    add_decode(command)
    command.add_argument(
        "--tta", action="store_true",
        help="search for `evaluate --tta --decode ...`, and leave the model as it is",
    )  # fmt: skip
    how = command.add_mutually_exclusive_group()
    how.add_argument(
        "--keep", action="store_true",
        help="keep the settings as they are, and fit the curve of the scores alone",
    )  # fmt: skip
    how.add_argument(
        "--finer", action="store_true",
        help="search near the settings as they are, in finer steps, and keep the curve",
    )  # fmt: skip


def run(options: argparse.Namespace) -> None:
    """Print every setting tried and store the best in the checkpoint or model folder."""
    network, recipe, _, config = open_model(
        options.model, threads=options.threads, decode=options.decode, tta=options.tta
    )
    dataset = open_scored(options, config, recipe)
    recipe = replace(recipe, object_px=usual_diameter(dataset))
    if options.keep:
        trials = iter([refitted(network, dataset, recipe)])
    elif options.finer:
        trials = refine(network, dataset, recipe)
    else:
        trials = tune(network, dataset, recipe, refit=not options.tta)
    for trial in trials:
        settings = {
            "foreground_threshold": trial.recipe.foreground_threshold,
            "min_score": trial.recipe.min_score,
        }
        text = " ".join(f"{k}={v:g}" for k, v in {**settings, **trial.recipe.decoder}.items())
        console.print(f"mean AP {trial.score.mean_ap:.4f}  {text}", markup=False)
    if options.tta:
        print_score("best, the last line above", trial.score)
        return
    _store(options.model, trial.recipe)
    print_score(f"best, stored in {options.model}", trial.score)


def _store(path: Path, recipe: Recipe) -> None:
    decode = DecodeConfig(
        foreground_threshold=recipe.foreground_threshold,
        settings=dict(recipe.decoder),
        score_calibration=recipe.score_calibration,
        min_score=recipe.min_score,
        object_px=recipe.object_px,
    )
    if path.is_dir():
        retune(path, recipe)
        card = path / "MODEL_CARD.md"
        card.write_text(with_decode(card.read_text(), decode))
    else:
        state = checkpoint.load(path)
        state.config = replace(state.config, decode=decode)
        checkpoint.save(path, state)


COMMAND = Command(
    "tune", "search decoder settings on validation data and store them", add_arguments, run
)
