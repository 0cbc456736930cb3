"""Open what the commands are given: a checkpoint, a model folder, a split."""

from __future__ import annotations

import argparse
from pathlib import Path

from service.recipe import Recipe
from training import checkpoint, engine, export
from training.checkpoint import Checkpoint
from training.config.experiment import Config
from training.data.dataset import DataError, Dataset, FolderDataset
from training.data.opening import open_datasets
from training.data.synthetic import SticksDataset
from training.decoding import Network, TorchNetwork, recipe_of
from training.models.unet import UNet


def add_checkpoint(command: argparse.ArgumentParser) -> None:
    """Declare the argument that `open_checkpoint` reads."""
    command.add_argument("checkpoint", type=Path)


def open_checkpoint(path: Path) -> tuple[Checkpoint, UNet]:
    """Open a run and its averaged network."""
    state = checkpoint.load(path)
    model = engine.build_model(state.config)
    model.load_state_dict(state.average)
    return state, model


def open_model(options: argparse.Namespace) -> tuple[Network, Recipe, str, Config | None]:
    """Open a model folder or a checkpoint; a folder knows nothing of its experiment."""
    if options.model.is_dir():
        artefact = export.open_artefact(options.model, threads=options.threads)
        return artefact, artefact.recipe, options.model.name, None
    state, model = open_checkpoint(options.model)
    recipe = recipe_of(state.config)
    return TorchNetwork(model, recipe), recipe, state.config.name, state.config


def open_split(options: argparse.Namespace, config: Config | None) -> Dataset:
    """Open the images to score, every file read and checked.

    Raises
    ------
    DataError
        With one line per broken file, or where nothing says which images are meant.
    """
    if options.split is None:
        if config is None:
            raise DataError(["--split is needed to evaluate a model folder"])
        return open_datasets(config, options.data)[1]
    if options.split.startswith("sticks"):
        return SticksDataset(count=100, seed=int(options.split.removeprefix("sticks:")))
    labels = options.labels or (config.data.labels if config else ["labels"])
    dataset = FolderDataset.open(options.data, options.split, tuple(labels))
    problems = list(dataset.check())
    if problems:
        raise DataError(problems)
    return dataset
