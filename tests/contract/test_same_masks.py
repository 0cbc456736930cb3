"""The same image gets the same masks, byte for byte, whichever backend the gateway has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.domain import Deadline, Instance
from service.gateway import Gateway, assemble
from service.request import Job
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


async def masks(gateway: Gateway, images: Sequence[Path], model: str) -> list[Sequence[Instance]]:
    return [
        (
            await gateway.segmenter.segment(
                path.read_bytes(),
                Job(request_id=path.name, deadline=Deadline.after(120.0), model=model),
                lambda _: b"",
            )
        ).result.segmentation.instances
        for path in images
    ]


async def all_masks(
    triton: TritonServer, images: Sequence[Path], model: str
) -> list[list[Sequence[Instance]]]:
    answers = []
    for settings in (
        {},
        {"triton_url": triton.address},
        {"triton_url": triton.address, "triton_shared_memory": True},
    ):
        async with gateway(**settings) as made:
            answers.append(await masks(made, images, model))
    return answers


@pytest.mark.parametrize(
    ("model", "example"), [("nuclei", "nuclei.png"), ("sticks", "sticks-crowded.png")]
)
async def test_the_shipped_examples_get_the_same_masks_from_every_backend(
    shipped: TritonServer, model: str, example: str
) -> None:
    embedded, by_wire, by_memory = await all_masks(shipped, [ROOT / "examples" / example], model)
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
    images = [TEST_SET / "images" / f"{name}.png" for name in names]
    embedded, by_wire, by_memory = await all_masks(shipped, images, "nuclei")
    assert len(embedded) == 50
    assert embedded == by_wire == by_memory
