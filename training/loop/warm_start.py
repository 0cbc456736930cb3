"""Begin with the weights of a model folder: fine-tune what is shipped on images of one's own.

The served network has its normalisation folded into the convolutions. Batch normalisation is put
back with statistics measured on a batch of the new data, scaled so that nothing changes at first.
A wider network can begin with the weights of a narrower one (`training.loop.widen`), and a network
with a further part with one that lacks it, where that part changes nothing at first. An embedding
of fewer dimensions keeps the first ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import Tensor, nn

from service.arrays import Float32
from training.loop.widen import Parts, fits, widen
from training.models.network import PixelNetwork

_PREFIX = "network."
_HALF = "_half"
_VECTORS = "embedding.project."


class WarmStartError(ValueError):
    """The model folder's weights do not fit the network."""


def warm_start(model: PixelNetwork, folder: Path, images: Tensor) -> None:
    """Load the weights of a served network into a network that trains.

    Parameters
    ----------
    model : PixelNetwork
        Of the shape that was exported, or wider, or with fewer dimensions; changed in place.
    folder : Path
        Model folder, as ``training export`` writes it.
    images : (N, 3, H, W) float32
        A batch of training images in 0..255, on which the normalisation's statistics are measured.

    Raises
    ------
    WarmStartError
        If the folder holds no network, or one of another shape.
    """
    stored = _weights(folder)
    norms = dict(_normalised(model))
    normalising = {id(parameter) for norm in norms.values() for parameter in norm.parameters()}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if id(parameter) in normalising:
                continue
            if name in stored or not model.begins_neutral(name):
                parts = _parts(model, name, stored)
                value = _take(stored, name, tuple(parameter.shape), parts)
                parameter.copy_(widen(value, parameter, parts))
    for name, norm in norms.items():
        # The convolution that it is folded into is as wide as that says.
        parts = _parts(model, f"{name}.weight", stored)
        bias = _take(stored, f"{name}.bias", (norm.num_features,), parts)
        norm.register_buffer("warm_bias", bias, persistent=False)
    _calibrate(model, list(norms.values()), images)


def _calibrate(model: nn.Module, norms: list[nn.BatchNorm2d], images: Tensor) -> None:
    """Set each normalisation, in the order of the forward pass, to add the folded bias alone.

    Channels that the model folder lacks are normalised like those of a new network.
    """
    hooks = [norm.register_forward_pre_hook(_measure) for norm in norms]
    trained = model.training
    try:
        with torch.no_grad():
            model.eval()(images)
    finally:
        model.train(trained)
        for hook, norm in zip(hooks, norms, strict=True):
            hook.remove()
            del norm.warm_bias


def _measure(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    norm = cast(nn.BatchNorm2d, norm)
    variance, mean = torch.var_mean(inputs[0].float(), dim=(0, 2, 3), correction=0)
    cast(Tensor, norm.running_mean).copy_(mean)
    cast(Tensor, norm.running_var).copy_(variance)
    folded = cast(Tensor, norm.warm_bias)
    known = len(folded)
    norm.weight[:known] = torch.sqrt(variance[:known] + norm.eps)
    norm.bias[:known] = mean[:known] + folded


def _normalised(model: nn.Module) -> Iterator[tuple[str, nn.BatchNorm2d]]:
    """Give every normalisation by the name of the convolution before it."""
    for name, module in model.named_modules():
        match list(module.named_children()):
            case [(first, nn.Conv2d() | nn.ConvTranspose2d()), (_, nn.BatchNorm2d() as norm), *_]:
                yield f"{name}.{first}", norm
            case _:
                pass


def _weights(folder: Path) -> Mapping[str, Float32]:
    path = folder / "1" / "model.onnx"
    try:
        graph = onnx.load(path).graph
    except (OSError, ValueError, DecodeError) as error:
        raise WarmStartError(f"start: no network can be read from {path}: {error}") from error
    return {
        tensor.name.removeprefix(_PREFIX).removesuffix(_HALF): numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.name.startswith(_PREFIX)
    }


def _parts(model: PixelNetwork, name: str, stored: Mapping[str, Float32]) -> Parts:
    if name not in stored:
        return Parts((), ())
    return Parts(
        model.parts(name, {key: value.shape for key, value in stored.items()}),
        model.parts(name, {key: value.shape for key, value in model.named_parameters()}),
    )


def _take(stored: Mapping[str, Float32], name: str, shape: tuple[int, ...], parts: Parts) -> Tensor:
    if name not in stored:
        raise WarmStartError(f"start: the model folder's network has no {name}")
    # A slope per channel is stored as (1, C, 1, 1), ready to be broadcast.
    value = stored[name].reshape(-1) if len(shape) == 1 else stored[name]
    if name.startswith(_VECTORS):
        # The position, where there is one, is added to the first two.
        value = value[: shape[0]]
    if not fits(value.shape, shape, parts):
        raise WarmStartError(
            f"start: {name} has shape {value.shape} in the model folder, {shape} here"
        )
    return torch.from_numpy(value.astype(np.float32))
