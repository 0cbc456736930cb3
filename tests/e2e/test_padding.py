"""Padding an image to the size that the network wants must not change what is found in it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import numpy.typing as npt
import pytest

from service.backends.base import CallContext
from service.backends.embedded import EmbeddedBackend
from service.domain import Deadline
from service.imaging.geometry import fit
from service.pipeline import to_prediction
from service.postprocess.extract import extract
from tests.live import ROOT
from training.data.synthetic import NucleiDataset
from training.metrics.matching import match, overlap


@pytest.fixture
async def backend() -> AsyncIterator[EmbeddedBackend]:
    embedded = EmbeddedBackend(ROOT / "model_repository", threads=2, calls=1)
    await embedded.start()
    yield embedded
    await embedded.aclose()


async def labels_at(
    backend: EmbeddedBackend, image: npt.NDArray[np.uint8], side: int
) -> npt.NDArray[np.int32]:
    model = await backend.model("nuclei")
    pixels = fit(image, multiple=model.recipe.size_multiple, buckets=(side,))
    context = CallContext("padding", Deadline.after(60))
    outputs = await backend.infer(pixels[np.newaxis], model, context)
    prediction = to_prediction(outputs.tensors, index=0)
    return extract(prediction, model.recipe, image.shape[:2]).labels


@pytest.mark.parametrize("seed", [3, 4, 5, 6])
@pytest.mark.parametrize("side", [288, 384])
async def test_an_image_padded_to_a_larger_bucket_keeps_its_objects(
    backend: EmbeddedBackend, seed: int, side: int
) -> None:
    grey = NucleiDataset(count=1, seed=seed)[0].image
    image = np.repeat(grey[..., np.newaxis], 3, axis=2)
    plain = await labels_at(backend, image, 256)
    padded = await labels_at(backend, image, side)
    # What lies at the border sees other neighbours, so outlines of touching objects may move.
    assert match(overlap(plain, padded), 0.5).f1 >= 0.9
