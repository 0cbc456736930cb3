"""Generators of test data: label images, and embeddings whose loss is zero.

Axes: E embedding, H W image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

DELTA_VAR = 0.5
DELTA_DIST = 1.5

LabelImage = npt.NDArray[np.int32]
Embedding = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Scene:
    """Instances, and vectors that tell them apart.

    `labels` are 1..K on the foreground; each pixel's vector lies within `radius` of its
    instance's centre, and centres are at least ``2 * DELTA_DIST`` apart.
    """

    embedding: Embedding
    labels: LabelImage

    @property
    def foreground(self) -> npt.NDArray[np.bool_]:
        return self.labels > 0


def discs(height: int, width: int, count: int, rng: np.random.Generator) -> LabelImage:
    """Return up to `count` discs on background; later ones cover earlier ones."""
    y, x = np.mgrid[:height, :width]
    labels = np.zeros((height, width), np.int32)
    largest = max(2.0, np.sqrt(height * width / max(count, 1)) / 1.6)
    for k in range(1, count + 1):
        at_y, at_x = rng.uniform(0, height), rng.uniform(0, width)
        labels[(y - at_y) ** 2 + (x - at_x) ** 2 <= rng.uniform(1.0, largest) ** 2] = k
    return consecutive(labels)


def consecutive(labels: npt.NDArray[np.integer[Any]]) -> LabelImage:
    """Renumber to 1..K, keeping 0."""
    found, numbered = np.unique(labels, return_inverse=True)
    shift = 0 if 0 in found else 1
    return np.asarray(numbered.reshape(labels.shape) + shift, np.int32)


def centres(count: int, size: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return `count` points of `size` dimensions, at least ``2 * DELTA_DIST`` apart."""
    gap = 2.0 * DELTA_DIST * 1.001
    axes = min(size, 16)
    side = int(np.ceil(count ** (1.0 / axes)))
    cells = np.zeros((count, size))
    cells[:, :axes] = np.stack(np.unravel_index(np.arange(count), (side,) * axes), axis=1)
    turn, _ = np.linalg.qr(rng.normal(size=(size, size)))
    return np.asarray((cells * gap) @ turn + rng.normal(size=size) * 3.0)


def embed(
    labels: LabelImage, size: int, rng: np.random.Generator, *, radius: float = DELTA_VAR * 0.99
) -> Scene:
    """Give each pixel a vector within `radius` of its instance's centre; background is wild."""
    count = int(labels.max(initial=0))
    places = np.concatenate((np.zeros((1, size)), centres(max(count, 1), size, rng)))
    directions = rng.normal(size=(size, *labels.shape))
    directions /= np.maximum(np.linalg.norm(directions, axis=0), 1e-9)
    lengths = radius * rng.uniform(size=labels.shape) ** (1.0 / size)
    embedding = places[labels].transpose(2, 0, 1) + directions * lengths
    embedding[:, labels == 0] = rng.normal(scale=5.0, size=(size, int((labels == 0).sum())))
    return Scene(embedding.astype(np.float32), labels)


def noisy(scene: Scene, noise: float, rng: np.random.Generator) -> Scene:
    """Add Gaussian noise of `noise` per dimension."""
    added = rng.normal(scale=noise, size=scene.embedding.shape)
    return Scene((scene.embedding + added).astype(np.float32), scene.labels)


def same_partition(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> bool:
    """Tell whether two label images are equal but for the numbers of their instances."""
    pairs = np.unique(np.stack([left.ravel(), right.ravel()]), axis=1)
    one_to_one = all(np.unique(side).size == side.size for side in pairs)
    return one_to_one and bool(np.array_equal(left == 0, right == 0))


@st.composite
def label_images(draw: st.DrawFn, *, longest: int = 40, most: int = 6) -> LabelImage:
    """Small label images: noise, blocks or discs; K labels, consecutive."""
    height, width = draw(st.integers(1, longest)), draw(st.integers(1, longest))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(0, most))
    kind = draw(st.sampled_from(("noise", "blocks", "discs")))
    if kind == "discs":
        return discs(height, width, count, rng)
    if kind == "noise":
        return consecutive(rng.integers(0, count + 1, (height, width)))
    block = draw(st.integers(2, 9))
    cells = rng.integers(0, count + 1, (height // block + 1, width // block + 1))
    return consecutive(np.kron(cells, np.ones((block, block), np.int64))[:height, :width])


@st.composite
def scenes(draw: st.DrawFn, *, longest: int = 96) -> Scene:
    """Discs with vectors at zero loss, in 2 to 16 dimensions."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = discs(
        draw(st.integers(1, longest)),
        draw(st.integers(1, longest)),
        draw(st.integers(0, 12)),
        rng,
    )
    return embed(labels, draw(st.sampled_from((1, 2, 3, 8, 16))), rng)
