"""Draw what each method wants its network to say, and what its decoder makes of it.

The embeddings are made from the labels of a drawn image, with some noise: the goal of the loss, not
the output of a network. The decoders are those that serve.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from service.domain import Category, Method, Prediction
from service.masks.label_png import write_png
from service.masks.overlay import embedding_picture, overlay
from service.postprocess.extract import extract
from service.recipe import Recipe
from training.data.synthetic import draw_nuclei

IMAGES = Path(__file__).parent / "images"
UNIT_PX = 64.0
Float = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]
Ideal = tuple[Float, Mapping[str, npt.NDArray[Any]], Mapping[str, float]]
"""Embedding, extra tensors, settings of the decoder."""


def main() -> int:
    """Write one picture per method: image, embedding, instances."""
    rng = np.random.default_rng(3)
    image, labels = draw_nuclei(rng, height=160, width=200, nuclei=26, radius_px=13.0)
    pixels = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    logits = np.where(labels > 0, 8.0, -8.0).astype(np.float32)[None]
    ideals: Mapping[Method, Callable[[Labels, np.random.Generator], Ideal]] = {
        "discriminative": _discriminative,
        "associative": _associative,
        "metric_learning": _metric_learning,
        "recurrent": _recurrent,
        "spatial": _spatial,
    }
    for method, ideal in ideals.items():
        embedding, extras, settings = ideal(labels, rng)
        recipe = Recipe(
            method=method,
            embedding_size=embedding.shape[0],
            classes=(Category(1, "nucleus"),),
            size_multiple=1,
            decoder=settings,
        )
        found = extract(Prediction(embedding, logits, extras), recipe, labels.shape)
        seen = embedding_picture(np.where(labels > 0, embedding, np.nan))
        gap = np.full((labels.shape[0], 6, 3), 255, np.uint8)
        picture = np.hstack([pixels, gap, seen, gap, overlay(pixels, found.labels)])
        (IMAGES / f"method-{method}.png").write_bytes(write_png(picture))
        sys.stdout.write(f"{method}: {labels.max()} drawn, {len(found.instances)} found\n")
    return 0


def _at_instances(values: Float, labels: Labels, noise: Float) -> Float:
    """Give each pixel the vector of its instance, and some noise."""
    return (values[labels].transpose(2, 0, 1) + noise).astype(np.float32)


def _noise(rng: np.random.Generator, size: int, labels: Labels, scale: float) -> Float:
    return rng.normal(0, scale, (size, *labels.shape)).astype(np.float32)


def _directions(rng: np.random.Generator, labels: Labels, size: int) -> Float:
    values = rng.normal(size=(labels.max() + 1, size)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def _depth(labels: Labels) -> Float:
    """Return how deep each pixel lies in its instance, in [0, 1]."""
    depth = np.zeros(labels.shape, np.float32)
    for label in range(1, int(labels.max()) + 1):
        inside = np.pad((labels == label).astype(np.uint8), 1)
        distance = cv2.distanceTransform(inside, cv2.DIST_L2, 5)[1:-1, 1:-1]
        depth = np.maximum(depth, distance / max(float(distance.max()), 1.0))
    return depth


def _discriminative(labels: Labels, rng: np.random.Generator) -> Ideal:
    centres = 6.0 * _directions(rng, labels, 8)
    return _at_instances(centres, labels, _noise(rng, 8, labels, 0.15)), {}, {"bandwidth": 1.5}


def _associative(labels: Labels, rng: np.random.Generator) -> Ideal:
    tags = rng.permutation(labels.max() + 1).astype(np.float32)[:, None]
    return _at_instances(tags, labels, _noise(rng, 1, labels, 0.08)), {}, {"bandwidth": 0.5}


def _metric_learning(labels: Labels, rng: np.random.Generator) -> Ideal:
    centres = 6.0 * _directions(rng, labels, 8)
    seeds = np.repeat(6.0 * _depth(labels)[None] - 2.0, 4, axis=0)
    return _at_instances(centres, labels, _noise(rng, 8, labels, 0.08)), {"seediness": seeds}, {}


def _recurrent(labels: Labels, rng: np.random.Generator) -> Ideal:
    directions = _directions(rng, labels, 24)
    embedding = _at_instances(directions, labels, _noise(rng, 24, labels, 0.03))
    return embedding / np.linalg.norm(embedding, axis=0), {}, {}


def _spatial(labels: Labels, rng: np.random.Generator) -> Ideal:
    height, width = labels.shape
    places = np.mgrid[:height, :width].astype(np.float32)
    offsets = np.zeros((2, height, width), np.float32)
    sigma = np.zeros((1, height, width), np.float32)
    for label in range(1, int(labels.max()) + 1):
        mask = labels == label
        centre = places[:, mask].mean(axis=1)
        offsets[:, mask] = 0.9 * (centre[:, None] - places[:, mask]) / UNIT_PX
        reach = 0.25 * np.sqrt(mask.sum() / np.pi) / UNIT_PX
        sigma[0, mask] = np.log(np.log(2.0) / reach**2) / 10.0
    seeds = 10.0 * _depth(labels)[None] - 5.0
    noise = _noise(rng, 2, labels, 0.3 / UNIT_PX)
    extras = {"seediness": seeds, "sigma": sigma}
    return offsets + noise, extras, {"unit_px": UNIT_PX}


if __name__ == "__main__":
    sys.exit(main())
