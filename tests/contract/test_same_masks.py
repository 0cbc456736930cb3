"""The same image gets the same masks, byte for byte, whichever backend the gateway has."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from PIL import Image

from service.domain import Deadline, Instance
from service.gateway import Gateway, assemble
from service.request import Asked, Result
from service.settings import Settings
from tests.triton_server.server import TritonServer

pytestmark = [pytest.mark.triton, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
TEST_SET = ROOT.parent / "shared" / "data" / "dsb2018"


@pytest.fixture(scope="module")
def shipped(start_triton: Callable[..., TritonServer]) -> TritonServer:
    """Triton with the shipped models, as they are."""
    return start_triton(ROOT / "model_repository")


@asynccontextmanager
async def gateway(**settings: object) -> AsyncIterator[Gateway]:
    made = assemble(
        Settings(model_repository=ROOT / "model_repository", **settings)  # type: ignore[arg-type]
    )
    await made.segmenter.backend.start()
    try:
        yield made
    finally:
        await made.aclose()


async def results(
    gateway: Gateway, images: Sequence[bytes], model: str, scale: float | None
) -> list[Result]:
    return [
        (
            await gateway.segmenter.segment(
                image,
                Asked(request_id="same", deadline=Deadline.after(120.0), model=model, scale=scale),
                lambda _: b"",
            )
        ).result
        for image in images
    ]


async def all_results(
    triton: TritonServer, images: Sequence[bytes], model: str, *, scale: float | None = 1.0
) -> list[list[Result]]:
    answers = []
    for settings in (
        {},
        {"triton_url": triton.address},
        {"triton_url": triton.address, "triton_shared_memory": True},
    ):
        async with gateway(**settings) as made:
            answers.append(await results(made, images, model, scale))
    return answers


def masks(found: Sequence[Result]) -> list[Sequence[Instance]]:
    return [result.segmentation.instances for result in found]


@pytest.mark.parametrize(
    ("model", "example"), [("nuclei", "nuclei.png"), ("sticks", "sticks-crowded.png")]
)
async def test_the_shipped_examples_get_the_same_masks_from_every_backend(
    shipped: TritonServer, model: str, example: str
) -> None:
    image = (ROOT / "examples" / example).read_bytes()
    embedded, by_wire, by_memory = map(masks, await all_results(shipped, [image], model))
    assert embedded[0]
    assert embedded == by_wire == by_memory


async def test_the_same_scale_is_found_with_every_backend(shipped: TritonServer) -> None:
    with Image.open(ROOT / "examples/nuclei.png") as example:
        large = example.resize((4 * example.width, 4 * example.height), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    large.save(file, "PNG")
    found = await all_results(shipped, [file.getvalue()], "nuclei", scale=None)
    embedded, by_wire, by_memory = map(masks, found)
    assert {result.scaled.scale for (result,) in found} == {0.25}
    assert embedded[0]
    assert embedded == by_wire == by_memory


@pytest.mark.shared_data
@pytest.mark.timeout(900)
async def test_every_test_image_gets_the_same_masks_from_every_backend(
    shipped: TritonServer,
) -> None:
    if not TEST_SET.is_dir():
        pytest.skip(f"the test images are not here: {TEST_SET}")
    names = (TEST_SET / "stardist_test.txt").read_text().split()
    images = [(TEST_SET / "images" / f"{name}.png").read_bytes() for name in names]
    embedded, by_wire, by_memory = map(masks, await all_results(shipped, images, "nuclei"))
    assert len(embedded) == 50
    assert embedded == by_wire == by_memory
