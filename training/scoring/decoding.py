"""From an image to labels with the code that serves, whatever runs the network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from service import signature
from service.arrays import Int32, UInt8
from service.domain import Category, Prediction
from service.imaging.geometry import fit
from service.postprocess.extract import extract
from service.recipe import Recipe
from training.config.experiment import Config
from training.data.dataset import Dataset, Sample


class Network(Protocol):
    """Whatever answers an image with a prediction."""

    def predict(self, image: UInt8) -> Prediction:
        """Run the network on one image, (H, W) or (H, W, 3) uint8, padded as its recipe asks."""


class TorchNetwork:
    """A network in training, fed and read as the gateway would.

    Parameters
    ----------
    model : Module
        Takes (N, 3, H, W) float32 in 0..255.
    recipe : Recipe
        What it asks of its input.
    bfloat16 : bool
        Compute in bfloat16, as it was trained.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, *, bfloat16: bool = False) -> None:
        self._model = model.eval()
        self._recipe = recipe
        self._bfloat16 = bfloat16

    @torch.inference_mode()
    def predict(self, image: UInt8) -> Prediction:
        """Run the network on one image; outputs are rounded to half precision as in serving."""
        fitted = fit(as_rgb(image), multiple=self._recipe.size_multiple)
        device = next(self._model.parameters()).device
        tensor = torch.from_numpy(fitted).to(device).permute(2, 0, 1)[None].float()
        with torch.autocast(device.type, torch.bfloat16, enabled=self._bfloat16):
            outputs = self._model(tensor)
        return as_prediction(
            {name: value[0].half().cpu().numpy() for name, value in outputs.items()}
        )


def as_rgb(image: UInt8) -> UInt8:
    """Repeat a grey image three times; leave RGB as it is."""
    return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)


def as_prediction(tensors: dict[str, npt.NDArray[np.float16]]) -> Prediction:
    """Sort one image's output tensors into a prediction."""
    own = (signature.EMBEDDING, signature.FOREGROUND)
    return Prediction(
        embedding=tensors[signature.EMBEDDING],
        foreground_logits=tensors[signature.FOREGROUND],
        extras={name: value for name, value in tensors.items() if name not in own},
    )


def recipe_of(config: Config) -> Recipe:
    """Give the recipe of an experiment, without digest and golden image."""
    return Recipe(
        method=config.loss.method,
        embedding_size=config.model.embedding_size,
        classes=tuple(Category(i, name) for i, name in enumerate(config.classes, start=1)),
        size_multiple=config.model.size_multiple,
        stride=config.model.embedding_stride,
        # What `spatial` sends has been bent by a tanh.
        position_px=0.0 if config.loss.method == "spatial" else config.model.position_px,
        foreground_threshold=config.decode.foreground_threshold,
        decoder=_derived(config) | dict(config.decode.settings),
        score_calibration=config.decode.score_calibration,
        min_score=config.decode.min_score,
        object_px=config.decode.object_px,
    )


def _derived(config: Config) -> dict[str, float]:
    """Give the decoder settings that follow from the loss, unless the configuration sets them."""
    match config.loss.method:
        case "discriminative":
            return {"bandwidth": config.loss.discriminative.delta_dist}
        case "spatial":
            return {"unit_px": config.loss.spatial.unit_px}
        case _:
            return {}


def segment(network: Network, image: UInt8, recipe: Recipe) -> Int32:
    """Label one image: (H, W) int32, 0 background, 1..K."""
    return read(network.predict(image), recipe, image.shape[:2])


def read(prediction: Prediction, recipe: Recipe, size: tuple[int, int]) -> Int32:
    """Label the image that a prediction was made from; `size` is its height and width."""
    return extract(prediction, recipe, size).labels


def samples(dataset: Dataset) -> Iterator[Sample]:
    """Go through a data set in order."""
    return (dataset[index] for index in range(len(dataset)))
