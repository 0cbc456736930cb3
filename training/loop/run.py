"""A run in memory: begun anew, from known weights, or where its last snapshot left it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.config.experiment import Config
from training.config.read import as_literal
from training.data.dataset import Dataset
from training.loop import checkpoint as checkpoints
from training.loop.batches import batch_at
from training.loop.checkpoint import Checkpoint, CheckpointError
from training.loop.encoder_weights import SUFFIXES, load_encoder
from training.loop.ranks import Ranks
from training.loop.warm_start import WarmStartError, warm_start
from training.models.build import build_model
from training.models.network import PixelNetwork
from training.report.card import config_of


@dataclass(slots=True)
class Run:
    """What a run holds.

    Parameters
    ----------
    state : Checkpoint
        How far it is.
    model, average : Module
        The network that learns, and the running average of its weights.
    optimizer : Optimizer
        Of the network.
    folder : Path
        Where it is saved.
    ranks : Ranks
        The processes that train it.
    """

    state: Checkpoint
    model: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    folder: Path
    ranks: Ranks


def open_run(config: Config, train_set: Dataset, folder: Path, ranks: Ranks) -> Run:
    """Begin a run, or continue it where ``folder/last.pt`` exists.

    Raises
    ------
    CheckpointError
        If the run in `folder` is of another network.
    """
    folder.mkdir(parents=True, exist_ok=True)
    last = _last_state(folder, config)
    model, average = (build_model(config).to(ranks.device) for _ in range(2))
    if config.start and last is None:
        images, _ = batch_at(train_set, config, 0)
        for network in (model, average):
            _begin_with(network, config, images.to(ranks.device))
    trained: nn.Module = model
    if ranks.size > 1 and ranks.device.type == "cuda":
        trained = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    optimizer = torch.optim.AdamW(
        trained.parameters(), config.optim.learning_rate, weight_decay=config.optim.weight_decay
    )
    state = Checkpoint(config, trained.state_dict(), average.state_dict())
    if last is not None:
        state = last
        trained.load_state_dict(state.model)
        average.load_state_dict(state.average)
        optimizer.load_state_dict(state.optimizer)
    return Run(state, trained, average, optimizer, folder, ranks)


def _last_state(folder: Path, config: Config) -> Checkpoint | None:
    """Read where the run in a folder was left; None where none was."""
    path = folder / "last.pt"
    if not path.is_file():
        return None
    state = checkpoints.load(path)
    _check_same(path, state.config, config)
    state.config = config
    return state


def save_run(run: Run) -> None:
    """Write ``last.pt``, all that is needed to continue to the same numbers."""
    state = run.state
    state.model, state.average = run.model.state_dict(), run.average.state_dict()
    state.optimizer = run.optimizer.state_dict()
    if run.ranks.is_first:
        checkpoints.save(run.folder / "last.pt", state)


def _begin_with(network: PixelNetwork, config: Config, images: Tensor) -> None:
    path = Path(config.start)
    if path.suffix in SUFFIXES:
        load_encoder(network, path)
        return
    try:
        warm_start(network, path, images)
    except WarmStartError as error:
        raise WarmStartError("\n".join([str(error), *_unlike(path, config)])) from error


def _unlike(folder: Path, config: Config) -> list[str]:
    """Say in which settings of the network a configuration differs from a model folder's card."""
    card = folder / "MODEL_CARD.md"
    try:
        stated = config_of(card.read_text(), "data", "model", "loss")
    except (OSError, ValueError):  # there is none, or another hand wrote it
        return []
    if stated is None:
        return []
    # A card does not state what a single class is called.
    theirs, ours = _shape(replace(stated, category=config.category)), _shape(config)
    return [
        f"{card} says {key}={as_literal(value)}, the configuration {as_literal(ours[key])}"
        for key, value in theirs.items()
        if value != ours[key]
    ]


def _check_same(path: Path, before: Config, now: Config) -> None:
    """Refuse to continue with weights that would not fit."""
    old, new = _shape(before), _shape(now)
    for key, value in new.items():
        if old[key] != value:
            raise CheckpointError(
                f"{path}: the run's {key} is {old[key]!r}, the configuration says {value!r}; "
                "set it back, or train under another name"
            )


def _shape(config: Config) -> dict[str, Any]:
    model = {f"model.{key}": value for key, value in asdict(config.model).items()}
    return model | {"loss.method": config.loss.method, "classes": config.classes}
