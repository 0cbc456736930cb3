"""What the tensors of a call must look like; the same check whichever backend made them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from service import signature
from service.backends.base import Model
from service.errors import BackendFailed

DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
}
"""NumPy's types by Triton's names, as far as `service.signature` speaks of them."""


def output_shape(
    name: str, channels: int, images_shape: tuple[int, ...], stride: int
) -> tuple[int, ...]:
    """Return the shape of an output for a batch of images.

    Parameters
    ----------
    name : str
        The output's name.
    channels : int
        Its maps per image.
    images_shape : tuple of int
        ``(N, H, W, 3)``.
    stride : int
        Input pixels per embedding pixel; foreground and labels have the size of the image.
    """
    batch, height, width, _ = images_shape
    if name in (signature.SCORES, signature.CLASSES):
        return (batch, channels)
    if name == signature.LABELS:
        return (batch, height, width)
    if name == signature.FOREGROUND:
        return (batch, channels, height, width)
    return (batch, channels, height // stride, width // stride)


def check_outputs(
    tensors: Mapping[str, npt.NDArray[Any]], model: Model, images_shape: tuple[int, ...]
) -> None:
    """Refuse tensors that the decoders could not read.

    Parameters
    ----------
    tensors : mapping of str to array
        The outputs by name.
    model : Model
        Whose outputs they are.
    images_shape : tuple of int
        Shape of the batch that went in.

    Raises
    ------
    BackendFailed
        If an output is missing, or has another type or shape than the contract says.
    """
    recipe = model.recipe
    for spec in recipe.outputs:
        if spec.name not in tensors:
            raise BackendFailed(f"model {model.name!r} sent no output {spec.name!r}")
        array = tensors[spec.name]
        if array.dtype != DTYPES[spec.dtype]:
            raise BackendFailed(
                f"model {model.name!r}: output {spec.name!r} is {array.dtype}, must be {spec.dtype}"
            )
        channels = recipe.channels.get(spec.name, array.shape[1] if array.ndim == spec.rank else 0)
        wanted = output_shape(spec.name, channels, images_shape, recipe.stride)
        if array.shape != wanted:
            raise BackendFailed(
                f"model {model.name!r}: output {spec.name!r} has shape {array.shape}, "
                f"must be {wanted}"
            )
