"""Open what the commands are given: a checkpoint, a model folder, a split."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from service.decoder_settings import faults
from service.recipe import Recipe
from training.config.checks import ConfigError, require
from training.config.data import CLASSED, DataConfig, DataKind
from training.config.experiment import Config
from training.config.read import explained
from training.data.dataset import DataError, Dataset, SubsetDataset
from training.data.files import read_list
from training.data.opening import DRAWN, open_datasets, open_split
from training.data.synthetic import SticksDataset
from training.deployment import export
from training.loop import checkpoint
from training.loop.checkpoint import Checkpoint
from training.models.build import build_model
from training.models.network import PixelNetwork
from training.report.card import data_of
from training.scoring.augmented import AugmentedNetwork
from training.scoring.decoding import Network, TorchNetwork, recipe_of

_DRAWN_SPLIT = "sticks:"
"""What a split of 100 drawn scenes of sticks is called, before its seed."""


def add_data(command: argparse.ArgumentParser) -> None:
    """Declare the arguments that `data_settings` reads."""
    layouts = [kind for kind in get_args(DataKind) if kind not in DRAWN]
    command.add_argument(
        "--layout", choices=layouts, help="of the data folder; default: the model's, or folder"
    )
    command.add_argument("--labels", nargs="+", help="label folders, the first that has an id")
    command.add_argument("--classes", nargs="+", help="categories to tell apart")
    command.add_argument(
        "--allow-empty", action="store_true", help="take images without an instance as well"
    )


def data_settings(
    options: argparse.Namespace, base: DataConfig, classes: tuple[str, ...] = ()
) -> DataConfig:
    """Give the settings of the data, those on the command line before those of `base`.

    Parameters
    ----------
    options : Namespace
        What `add_data` declares.
    base : DataConfig
        Settings of the run, or defaults.
    classes : tuple of str
        What a model tells apart of which no run is known. Of a layout that tells no classes apart,
        all instances are of one.

    Raises
    ------
    ConfigError
        If the settings do not fit each other.
    """
    kind = options.layout or base.kind
    known = (base.classes or classes) if kind in CLASSED else ()
    labels, told = options.labels or base.labels, options.classes or known
    empty = options.allow_empty or base.allow_empty
    try:
        return replace(
            base, kind=kind, labels=tuple(labels), classes=tuple(told), allow_empty=empty
        )
    except ValidationError as error:
        raise explained(error) from error


def add_scored(command: argparse.ArgumentParser) -> None:
    """Declare what commands take that score a model: see `open_model` and `open_scored`."""
    command.add_argument("model", type=Path, help="model folder or checkpoint")
    command.add_argument("--split", help="list of the data folder; default: the validation list")
    add_data(command)
    command.add_argument("--only", type=Path, help="file of ids to report apart")
    add_decode(command)
    command.add_argument(
        "--tta", action="store_true", help="join the answers to the image turned and mirrored"
    )
    command.add_argument(
        "--title", help="name of the result; default: the split, and the list of --only"
    )
    command.add_argument("--record", type=Path, help="folder that `table` reads")


def add_decode(command: argparse.ArgumentParser) -> None:
    """Declare the changes that `decoded_otherwise` makes."""
    command.add_argument(
        "--decode", nargs="+", default=[], metavar="NAME=NUMBER",
        help="read the output otherwise: foreground_threshold=0.55 bandwidth=1.75",
    )  # fmt: skip


def add_checkpoint(command: argparse.ArgumentParser) -> None:
    """Declare the argument that `open_checkpoint` reads."""
    command.add_argument("checkpoint", type=Path)


def open_checkpoint(path: Path) -> tuple[Checkpoint, PixelNetwork]:
    """Open a run and its averaged network."""
    state = checkpoint.load(path)
    model = build_model(state.config)
    model.load_state_dict(state.average)
    return state, model


def open_model(
    path: Path, *, threads: int, decode: Sequence[str] = (), tta: bool = False
) -> tuple[Network, Recipe, str, Config | None]:
    """Open a model folder or a checkpoint; of its experiment, a folder knows its card alone.

    Parameters
    ----------
    path : Path
        The folder or the file.
    threads : int
        Of ONNX Runtime, which runs a folder's network.
    decode : sequence of str
        Changes of the decoder's settings, as `decoded_otherwise` takes them.
    tta : bool
        Join the answers to the image turned and mirrored.

    Returns
    -------
    network, recipe
        What answers, and how its answers are read.
    name : str
        Of the model; with other answers than its own it has another.
    config : Config, optional
        Of a checkpoint's experiment.
    """
    network: Network
    if path.is_dir():
        artefact = export.open_artefact(path, threads=threads)
        network, recipe, name, config = artefact, artefact.recipe, path.name, None
    else:
        state, model = open_checkpoint(path)
        recipe, name, config = recipe_of(state.config), state.config.name, state.config
        network = TorchNetwork(model, recipe)
    recipe = decoded_otherwise(recipe, decode)
    name = f"{name}-trial" if decode else name
    if tta:
        joined = AugmentedNetwork(network, recipe)
        return joined, joined.recipe, f"{name}-tta", config
    return network, recipe, name, config


def decoded_otherwise(recipe: Recipe, changes: Sequence[str]) -> Recipe:
    """Change decoder settings, each given as ``name=number``.

    Raises
    ------
    ConfigError
        If one is not a number, or the method's decoder has no such setting.
    """
    settings: dict[str, float] = {}
    for item in changes:
        name, _, text = item.partition("=")
        try:
            settings[name] = float(text)
        except ValueError:
            raise ConfigError(f"--decode {item}: {text!r} is not a number") from None
    threshold = settings.pop("foreground_threshold", recipe.foreground_threshold)
    require(0 < threshold < 1, "--decode foreground_threshold: must lie in (0, 1)")
    least = settings.pop("min_score", recipe.min_score)
    require(0 <= least <= 1, "--decode min_score: must lie in [0, 1]")
    for fault in faults(recipe.method, settings):
        raise ConfigError(f"--decode: {fault}")
    return replace(
        recipe,
        foreground_threshold=threshold,
        min_score=least,
        decoder={**recipe.decoder, **settings},
    )


def open_scored(
    options: argparse.Namespace, config: Config | None, recipe: Recipe, *, only: Path | None = None
) -> Dataset:
    """Open the images to score, every file read and checked.

    Parameters
    ----------
    options : Namespace
        ``model``, ``data`` and ``split``, and what `add_data` declares.
    config : Config, optional
        Of the model's experiment.
    recipe : Recipe
        Of the model.
    only : Path, optional
        List of the ids that are kept.

    Raises
    ------
    DataError
        With one line per broken file, or where nothing says which images are meant.
    """
    dataset = _open_scored(options, config, recipe)
    return dataset if only is None else SubsetDataset(dataset, read_list(only))


def _open_scored(options: argparse.Namespace, config: Config | None, recipe: Recipe) -> Dataset:
    names = tuple(category.name for category in recipe.classes)
    known = config.data if config else _stated(options.model / "MODEL_CARD.md")
    data = data_settings(options, known, names if len(names) > 1 else ())
    split = options.split
    if split is None:
        if config is None:
            raise DataError(["--split is needed to evaluate a model folder"])
        if data.kind in DRAWN:
            return open_datasets(config, options.data)[1]
        if not data.val:
            raise DataError(["--split is needed: data.val of the run is empty"])
        split = data.val
    if split.startswith(_DRAWN_SPLIT):
        seed = split.removeprefix(_DRAWN_SPLIT)
        require(seed.isdigit(), f"--split {split}: {seed!r} is no seed of drawn sticks")
        return SticksDataset(count=100, seed=int(seed))
    return open_split(data, options.data, split)


def _stated(card: Path) -> DataConfig:
    """Give the settings of the data that a model's card states, as far as they are about files."""
    if not card.is_file():
        return DataConfig()
    try:
        data = data_of(card.read_text())
    except ConfigError as error:
        raise ConfigError(f"{card}: {error}") from error
    return DataConfig() if data is None or data.kind in DRAWN else data
