"""Test-time augmentation: one answer from an image turned and mirrored in all eight ways."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np

from service.arrays import Float32, Floats, UInt8
from service.domain import Prediction
from service.postprocess.quantised import dequantise
from service.recipe import Recipe
from training.config.checks import ConfigError
from training.scoring.decoding import Network

VIEWS: tuple[tuple[int, bool], ...] = tuple(product(range(4), (False, True)))
"""Quarter turns, and whether the turned image is mirrored left to right."""

COMPARED_BY_DISTANCE = ("discriminative", "metric_learning")
"""Methods whose decoders ask nothing of an embedding but the distances in it."""


class AugmentedNetwork:
    """Asks a network eight times about an image.

    Parameters
    ----------
    network : Network
        Is asked.
    recipe : Recipe
        Its recipe; `recipe` of this object is the one for the joint answer.

    Raises
    ------
    ConfigError
        If the method's decoder needs more than distances.

    Notes
    -----
    Logits are averaged. Vectors of two views cannot be: a network may well give an instance another
    vector in every view. But all views have the same pixels, so each pixel's vectors are strung
    together and divided by the square root of the number of views. The distance of two pixels is
    then the root mean square of their distances in the views: the margins that the loss asks for in
    each view hold as they are, and so do the bandwidths.
    """

    def __init__(self, network: Network, recipe: Recipe) -> None:
        if recipe.method not in COMPARED_BY_DISTANCE:
            known = " and ".join(COMPARED_BY_DISTANCE)
            raise ConfigError(
                f"test-time augmentation joins embeddings by their distances: it serves {known}, "
                f"not {recipe.method}"
            )
        self._network = network
        self._read = recipe
        self.recipe = replace(
            recipe,
            embedding_size=recipe.embedding_size * len(VIEWS),
            embedding_scale=(),
            embedding_slope=(),
            stride=1,
        )

    def predict(self, image: UInt8) -> Prediction:
        """Join the answers of all views, at the size of the image."""
        seen = [self._view(image, turns, mirrored) for turns, mirrored in VIEWS]
        embedding = np.concatenate([view.embedding for view in seen]) / np.sqrt(len(VIEWS))
        return Prediction(
            embedding=embedding.astype(np.float32),
            foreground_logits=_mean([view.foreground_logits for view in seen]),
            extras={name: _mean([view.extras[name] for view in seen]) for name in seen[0].extras},
        )

    def _view(self, image: UInt8, turns: int, mirrored: bool) -> Prediction:  # noqa: FBT001 - a view is a pair
        turned = np.rot90(image, turns)
        turned = np.ascontiguousarray(turned[:, ::-1] if mirrored else turned)
        height, width = turned.shape[:2]
        answer = self._network.predict(turned)

        def back(tensor: Floats) -> Floats:
            at_size = tensor[:, :height, :width].astype(np.float32)
            at_size = at_size[:, :, ::-1] if mirrored else at_size
            return np.rot90(at_size, -turns, axes=(1, 2))

        def grown(tensor: Floats) -> Floats:
            stride = self._read.stride
            return back(tensor.repeat(stride, axis=1).repeat(stride, axis=2))

        vectors = dequantise(
            answer.embedding, self._read.embedding_scale, self._read.embedding_slope
        )
        return Prediction(
            embedding=grown(vectors),
            foreground_logits=back(answer.foreground_logits),
            extras={name: grown(tensor) for name, tensor in answer.extras.items()},
        )


def _mean(tensors: list[Floats]) -> Float32:
    return np.asarray(np.mean(tensors, axis=0), np.float32)
