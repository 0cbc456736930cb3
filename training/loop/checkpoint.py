"""A run on disk: weights, running average, optimizer, place in the run, configuration.

Everything needed to continue to the same numbers is in one file; a file that does not fit the
configuration is refused.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from service.whole_file import whole_file
from training.config.experiment import Config
from training.config.read import from_dict

_KEYS = ("config", "model", "average", "optimizer", "step", "elapsed_s", "best", "since_best")


class CheckpointError(ValueError):
    """A checkpoint that does not fit."""


@dataclass(slots=True)
class Checkpoint:
    """The state of a run.

    Parameters
    ----------
    config : Config
        The resolved configuration.
    model, average : dict
        State of the network being trained, and of its running average (what is exported).
    optimizer : dict
        State of the optimizer.
    step : int
        Steps done; all randomness follows from it and the seed.
    elapsed_s : float
        Time spent in training so far.
    best : float
        Best validation score so far.
    since_best : int
        Validations since then.
    """

    config: Config
    model: dict[str, Any]
    average: dict[str, Any]
    optimizer: dict[str, Any] = field(default_factory=dict)
    step: int = 0
    elapsed_s: float = 0.0
    best: float = -1.0
    since_best: int = 0


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write the file as a whole or not at all: a run killed here keeps its last state.

    Raises
    ------
    OSError
        If there is no room for it, or it cannot be written otherwise.
    """
    state = {key: getattr(checkpoint, key) for key in _KEYS}
    state["config"] = checkpoint.config.to_dict()
    content = io.BytesIO()  # of a full disk, PyTorch says something else
    torch.save(state, content)
    with whole_file(path) as part:
        part.write_bytes(content.getbuffer())


def load(path: Path) -> Checkpoint:
    """Read a file written by `save`.

    Raises
    ------
    CheckpointError
        If there is no such file, it is no checkpoint, or keys are missing or unknown.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from error
    except Exception as error:  # torch raises many kinds
        raise CheckpointError(f"{path}: is no checkpoint of a run") from error
    if not isinstance(state, dict) or set(state) != set(_KEYS):
        found = sorted(state) if isinstance(state, dict) else type(state).__name__
        raise CheckpointError(f"{path}: holds {found}, expected {sorted(_KEYS)}")
    return Checkpoint(**{**state, "config": from_dict(state["config"])})
