"""A real server that clusters answers as the gateway does, with 2 bytes a pixel."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from service.api.formats import WRITERS
from service.api.schemas import Format
from service.backends.base import CallContext
from service.backends.embedded import EmbeddedBackend
from service.backends.triton import TritonBackend
from service.domain import Deadline, ImageLimits
from service.errors import BadParameter
from service.pipeline import Segmenter
from service.postprocess.labelled import ExtractOptions
from service.postprocess.segmentation import Segmentation
from service.request import Job, Reply
from service.telemetry.metrics import Metrics
from service.workers import Gate, Workers
from tests.scenes import MODEL, draw_scene, png_of, write_scenes_model
from tests.triton_server.server import TritonServer
from training.deployment.server_clustering import write_clustering

pytestmark = pytest.mark.triton

WHOLE = f"{MODEL}-labels"


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


async def ask(segmenter: Segmenter, model: str, seed: int, **wanted: object) -> Reply:
    job = Job(request_id="labels", deadline=Deadline.after(60), model=model, **wanted)  # type: ignore[arg-type]
    image = draw_scene(seed)[0]
    return await segmenter.segment(png_of(image), job, WRITERS[Format.RLE].render)


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
    job = Job(request_id="labels", deadline=Deadline.after(60), model=WHOLE)
    render = WRITERS[Format.EMBEDDING_PNG].render
    with pytest.raises(BadParameter, match="sends no embedding"):
        await segmenter.segment(png_of(draw_scene(0)[0]), job, render)


async def test_the_stage_alone_is_no_model_of_the_gateway(segmenter: Segmenter) -> None:
    assert {model.name for model in await segmenter.backend.models()} == {MODEL, WHOLE}


async def test_an_embedded_gateway_leaves_out_what_only_a_server_runs(tmp_path: Path) -> None:
    write_clustering(write_scenes_model(tmp_path))
    backend = EmbeddedBackend(tmp_path, threads=1, calls=1)
    await backend.start()
    assert [model.name for model in await backend.models()] == [MODEL]
    await backend.aclose()
