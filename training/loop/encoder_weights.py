"""Begin with an encoder trained elsewhere: ResNet-18 and -34 as timm and torchvision store them.

Only files that lie on this machine are read, such as
``~/.cache/huggingface/hub/models--timm--resnet18.a1_in1k/snapshots/*/model.safetensors``. The
library timm itself imports torchvision, which this project does without, so the encoder is
`training.models.fpn` and only the names are theirs.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from training.loop.warm_start import WarmStartError
from training.models.fpn import FPN

_NAMES: Final = (
    (r"^conv1\.", "stem.0."),
    (r"^bn1\.", "stem.1."),
    (r"^layer(\d+)\.(\d+)\.", lambda match: f"levels.{int(match[1]) - 1}.{match[2]}."),
    (r"\.conv1\.", ".first.0."),
    (r"\.bn1\.", ".first.1."),
    (r"\.conv2\.", ".second.0."),
    (r"\.bn2\.", ".second.1."),
    (r"\.downsample\.", ".shortcut."),
)
"""From their names to ours, applied in order."""

SUFFIXES: Final = (".safetensors", ".pth", ".pt", ".bin")
"""What tells a file of weights from a model folder."""

_RUN: Final = "of a run, name the model folder that `training export` writes"
"""What is meant where somebody gives the checkpoint."""

_HEAD: Final = "fc."
_COUNTER: Final = "num_batches_tracked"


def load_encoder(model: nn.Module, path: Path) -> None:
    """Load weights into the encoder of a network, in place.

    Parameters
    ----------
    model : Module
        An `FPN`; its input channels beyond the picture's three begin at zero.
    path : Path
        ``.safetensors``, or what ``torch.save`` wrote.

    Raises
    ------
    WarmStartError
        If the file cannot be read or does not fit, or the network has no such encoder.
    """
    if not isinstance(model, FPN):
        raise WarmStartError(
            f"start: {path} is a file of an encoder, for model.network = 'fpn' alone; {_RUN}"
        )
    stored = {_ours(name): value for name, value in _read(path).items() if _HEAD not in name}
    wanted = model.encoder.state_dict()
    _widen(stored, "stem.0.weight", wanted)
    for name, value in wanted.items():
        if name.endswith(_COUNTER):
            stored.setdefault(name, value)
        elif name not in stored or stored[name].shape != value.shape:
            found = tuple(stored[name].shape) if name in stored else "nothing"
            raise WarmStartError(
                f"start: {path} has {found} for {name}, {tuple(value.shape)} here; "
                "model.widths and model.blocks must be those of its ResNet"
            )
    extra = sorted(set(stored) - set(wanted))
    if extra:
        raise WarmStartError(f"start: {path} also has {extra[0]}: its ResNet is a larger one")
    model.encoder.load_state_dict(stored)


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise WarmStartError(f"start: no weights can be read from {path}: {error}") from error
    if not isinstance(stored, Mapping) or not all(isinstance(v, Tensor) for v in stored.values()):
        raise WarmStartError(f"start: {path} is no mapping of names to tensors; {_RUN}")
    return stored


def _ours(name: str) -> str:
    for pattern, replacement in _NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _widen(stored: dict[str, Tensor], name: str, wanted: Mapping[str, Tensor]) -> None:
    """Give the first convolution weights of zero for the position channels."""
    if name in stored and stored[name].shape[1] == 3:
        missing = wanted[name].shape[1] - 3
        stored[name] = nn.functional.pad(stored[name], (0, 0, 0, 0, 0, missing))
