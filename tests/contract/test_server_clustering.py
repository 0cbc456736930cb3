"""A real server that clusters answers as the gateway does, with 2 bytes a pixel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from service.api.formats import WRITERS
from service.api.schemas import Format
from service.backends.base import CallContext
from service.backends.embedded import EmbeddedBackend
from service.backends.triton import TritonBackend
from service.domain import Deadline, ImageLimits
from service.errors import BackendFailed, BadParameter
from service.imaging.geometry import fit_batch
from service.pipeline import Segmenter
from service.postprocess.labelled import ExtractOptions
from service.postprocess.segmentation import Segmentation
from service.request import Asked, Reply, ScaledImage
from service.telemetry.metrics import Metrics
from service.together import look_together
from service.workers import Gate, Workers
from tests.scenes import MODEL, draw_scene, png_of, write_scenes_model
from tests.triton_server.server import TritonServer
from training.deployment.server_clustering import write_clustering

pytestmark = pytest.mark.triton

WHOLE = f"{MODEL}-labels"
SIZES = [(93, 117), (90, 113), (89, 118), (96, 120)]
"""All padded to the last."""


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, start_triton: Callable[..., TritonServer]
) -> TritonServer:
    repository = tmp_path_factory.mktemp("clustering")
    write_clustering(write_scenes_model(repository))
    return start_triton(repository)


@pytest.fixture
async def segmenter(
    server: TritonServer, open_triton: Callable[..., TritonBackend], shared_memory_bytes: int
) -> AsyncIterator[Segmenter]:
    backend = open_triton(server.address, shared_memory_bytes=shared_memory_bytes)
    await backend.start()
    workers = Workers(1)
    yield Segmenter(backend, workers, Gate(slots=1, waiting=1), Metrics(), ImageLimits())
    workers.close()


def asked_for(model: str, **wanted: object) -> Asked:
    return Asked(request_id="labels", deadline=Deadline.after(60), model=model, **wanted)  # type: ignore[arg-type]


async def ask(segmenter: Segmenter, model: str, seed: int, **wanted: object) -> Reply:
    source = png_of(draw_scene(seed)[0])
    return await segmenter.segment(source, asked_for(model, **wanted), WRITERS[Format.RLE].render)


def draw_fading(size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Draw bars across the image that grow brighter to the right.

    They are parted where their vectors lie dense, which their mirrored ends would move.
    """
    image = np.zeros((*size, 3), np.uint8)
    for top, colour in ((5, (240, 240, 140)), (35, (140, 240, 240)), (65, (240, 140, 240))):
        image[top : top + 20] = np.linspace(0.6, 1.0, size[1])[:, None] * colour
    return image


def masks(found: Segmentation) -> list[str]:
    """Return every mask; those of like scores come in no certain order."""
    return sorted(instance.rle["counts"] for instance in found.instances)


@pytest.mark.parametrize("seed", range(3))
async def test_masks_are_those_of_the_gateway(segmenter: Segmenter, seed: int) -> None:
    ours = (await ask(segmenter, MODEL, seed)).result.segmentation
    theirs = (await ask(segmenter, WHOLE, seed)).result.segmentation
    assert len(ours.instances) > 1
    assert masks(theirs) == masks(ours)
    assert [i.score for i in theirs.instances] == pytest.approx(
        [i.score for i in ours.instances], abs=1e-3
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("upright", [False, True], ids=["right", "bottom"])
async def test_padding_does_not_count(
    segmenter: Segmenter, size: tuple[int, int], *, upright: bool
) -> None:
    image = draw_fading(size)
    source = png_of(image.transpose(1, 0, 2).copy() if upright else image)
    ours, theirs = [
        (await segmenter.segment(source, asked_for(model), WRITERS[Format.RLE].render)).result
        for model in (MODEL, WHOLE)
    ]
    assert ours.segmentation.count > 3
    assert masks(theirs.segmentation) == masks(ours.segmentation)
    assert [i.score for i in theirs.segmentation.instances] == pytest.approx(
        [i.score for i in ours.segmentation.instances], abs=1e-5
    )


async def test_each_image_of_a_batch_has_its_own_padding(segmenter: Segmenter) -> None:
    files = [png_of(draw_fading(size)) for size in SIZES]
    found = []
    for model in (MODEL, WHOLE):
        asked = [asked_for(model) for _ in files]
        looked = await look_together(segmenter, files, asked)
        seen = [entry for entry in looked if isinstance(entry, ScaledImage)]
        replies = [
            await segmenter.segment(entry, one, WRITERS[Format.RLE].render)
            for entry, one in zip(seen, asked, strict=True)
        ]
        found.append([masks(reply.result.segmentation) for reply in replies])
    assert len(found[0]) == len(SIZES)
    assert found[1] == found[0]


async def test_requests_that_the_server_joins_keep_their_sizes(segmenter: Segmenter) -> None:
    model = await segmenter.backend.model(WHOLE)

    async def labels(size: tuple[int, int]) -> npt.NDArray[np.uint16]:
        context = CallContext("joined", Deadline.after(30.0), sizes=[size])
        fitted = fit_batch([draw_fading(size)], multiple=8)
        return (await segmenter.backend.infer(fitted, model, context)).tensors["labels"].copy()

    alone = [await labels(size) for size in SIZES]
    together = await asyncio.gather(*(labels(size) for size in SIZES * 4))
    for found, expected in zip(together, alone * 4, strict=True):
        np.testing.assert_array_equal(found, expected)


async def test_without_sizes_the_whole_image_counts(segmenter: Segmenter) -> None:
    model = await segmenter.backend.model(WHOLE)
    images = fit_batch([draw_fading(SIZES[0])], multiple=8)
    outputs = await segmenter.backend.infer(
        images, model, CallContext("whole", Deadline.after(30.0))
    )
    assert (outputs.tensors["labels"][0, 5:25, -1] > 0).all()


async def test_sizes_of_another_number_of_images_are_a_failure(segmenter: Segmenter) -> None:
    model = await segmenter.backend.model(WHOLE)
    images = fit_batch([draw_fading(SIZES[0])], multiple=8)
    context = CallContext("two", Deadline.after(30.0), sizes=SIZES[:2])
    with pytest.raises(BackendFailed):
        await segmenter.backend.infer(images, model, context)


async def test_tiles_are_joined_as_ever(segmenter: Segmenter) -> None:
    ours = (await ask(segmenter, MODEL, 1, tile_px=64)).result.segmentation
    theirs = (await ask(segmenter, WHOLE, 1, tile_px=64)).result.segmentation
    assert masks(theirs) == masks(ours)


async def test_two_bytes_a_pixel_travel(segmenter: Segmenter) -> None:
    model = await segmenter.backend.model(WHOLE)
    images = draw_scene(0, height=96, width=96)[0][None]
    outputs = await segmenter.backend.infer(
        images, model, CallContext("bytes", Deadline.after(30.0))
    )
    assert outputs.tensors["labels"].nbytes == 2 * 96 * 96
    assert outputs.bytes_out < 2 * 96 * 96 + 1000


async def test_what_the_server_decides_cannot_be_asked_for(segmenter: Segmenter) -> None:
    with pytest.raises(BadParameter, match="bandwidth"):
        await ask(segmenter, WHOLE, 0, options=ExtractOptions(bandwidth=2.0))


async def test_a_picture_of_the_embedding_is_refused_with_the_reason(segmenter: Segmenter) -> None:
    asked = asked_for(WHOLE)
    render = WRITERS[Format.EMBEDDING_PNG].render
    with pytest.raises(BadParameter, match="sends no embedding"):
        await segmenter.segment(png_of(draw_scene(0)[0]), asked, render)


async def test_the_stage_alone_is_no_model_of_the_gateway(segmenter: Segmenter) -> None:
    assert {model.name for model in await segmenter.backend.models()} == {MODEL, WHOLE}


async def test_an_embedded_gateway_leaves_out_what_only_a_server_runs(tmp_path: Path) -> None:
    write_clustering(write_scenes_model(tmp_path))
    backend = EmbeddedBackend(tmp_path, threads=1, calls=1)
    await backend.start()
    assert [model.name for model in await backend.models()] == [MODEL]
    await backend.aclose()
