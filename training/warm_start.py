"""Begin with the weights of a model folder: fine-tune what is shipped on images of one's own.

The served network has its normalisation folded into the convolutions. Batch normalisation is put
back with statistics measured on a batch of the new data, scaled so that nothing changes at first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

_PREFIX = "network."
_HALF = "_half"


class WarmStartError(ValueError):
    """The model folder's weights do not fit the network."""


def warm_start(model: nn.Module, folder: Path, images: Tensor) -> None:
    """Load the weights of a served network into a network that trains.

    Parameters
    ----------
    model : Module
        Of the shape that was exported; changed in place.
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
    for name, layer in model.named_modules():
        if not isinstance(layer, nn.Conv2d):
            continue
        bias = _take(stored, f"{name}.bias", (layer.out_channels,))
        with torch.no_grad():
            layer.weight.copy_(_take(stored, f"{name}.weight", tuple(layer.weight.shape)))
            if layer.bias is not None:
                layer.bias.copy_(bias)
        if name in norms:
            norms[name].register_buffer("warm_bias", bias, persistent=False)
    _calibrate(model, list(norms.values()), images)


def _calibrate(model: nn.Module, norms: list[nn.BatchNorm2d], images: Tensor) -> None:
    """Set each normalisation, in the order of the forward pass, to add the folded bias alone."""
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
    norm.weight.copy_(torch.sqrt(variance + norm.eps))
    norm.bias.copy_(mean + cast(Tensor, norm.warm_bias))


def _normalised(model: nn.Module) -> Iterator[tuple[str, nn.BatchNorm2d]]:
    """Give every normalisation by the name of the convolution before it."""
    for name, module in model.named_modules():
        match list(module.named_children()):
            case [(first, nn.Conv2d()), (_, nn.BatchNorm2d() as norm), *_]:
                yield f"{name}.{first}", norm
            case _:
                pass


def _weights(folder: Path) -> Mapping[str, npt.NDArray[np.float32]]:
    path = folder / "1" / "model.onnx"
    try:
        graph = onnx.load(path).graph
    except (OSError, ValueError) as error:
        raise WarmStartError(f"start: no network can be read from {path}: {error}") from error
    return {
        tensor.name.removeprefix(_PREFIX).removesuffix(_HALF): numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.name.startswith(_PREFIX)
    }


def _take(
    stored: Mapping[str, npt.NDArray[np.float32]], name: str, shape: tuple[int, ...]
) -> Tensor:
    if name not in stored:
        raise WarmStartError(f"start: the model folder's network has no {name}")
    if stored[name].shape != shape:
        raise WarmStartError(
            f"start: {name} has shape {stored[name].shape} in the model folder, {shape} here"
        )
    return torch.from_numpy(stored[name].astype(np.float32))
