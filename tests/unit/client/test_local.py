"""Answers without a server: how many side by side, and that all are the same."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.api.schemas import Format
from service.domain import Deadline
from service.errors import ArtefactError, BrokenImage, OutOfMemory
from service.local import _Here, lanes, lanes_for
from service.request import Asked
from service.settings import Settings
from tests.scenes import MODEL, draw_scene, png_of, write_scenes_model

PICTURES = [draw_scene(seed) for seed in range(6)]


def ask(deadline: Deadline) -> Asked:
    return Asked(request_id="local", deadline=deadline, model=MODEL)


def settings(repository: Path) -> Settings:
    return Settings(model_repository=repository, default_model=MODEL)


@pytest.mark.parametrize(
    ("images", "given", "count"),
    [
        (7, {}, 1),
        (8, {}, 4),
        (8, {"inference_threads": 2}, 2),
        (8, {"inference_threads": 9}, 1),
        (8, {"triton_url": "triton:8001", "max_in_flight": 6}, 6),
    ],
)
def test_many_images_are_answered_side_by_side(
    images: int, given: dict[str, Any], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert lanes_for(images, Settings(**given)) == count


def test_lanes_find_what_was_drawn_from_whatever_thread_they_are_asked(tmp_path: Path) -> None:
    write_scenes_model(tmp_path)
    with (
        lanes(settings(tmp_path), Format.RLE, count=2, ask=ask) as answer,
        ThreadPoolExecutor(4) as pool,
    ):
        bodies = list(pool.map(answer, [png_of(image) for image, _ in PICTURES]))
    found = [len(orjson.loads(body)["instances"]) for body in bodies]
    assert found == [int(labels.max()) for _, labels in PICTURES]


def test_a_lane_runs_its_network_on_the_thread_that_asks(tmp_path: Path) -> None:
    write_scenes_model(tmp_path)
    before = {thread.name for thread in threading.enumerate()}
    with lanes(settings(tmp_path), Format.RLE, count=1, ask=ask) as answer:
        answer(png_of(PICTURES[0][0]))
        started = {thread.name for thread in threading.enumerate()} - before
    assert not {name for name in started if name.startswith(("network", "worker"))}


def test_a_lane_serves_on_after_an_image_that_is_none(tmp_path: Path) -> None:
    write_scenes_model(tmp_path)
    picture = png_of(PICTURES[0][0])
    with lanes(settings(tmp_path), Format.LABEL_PNG, count=1, ask=ask) as answer:
        with pytest.raises(BrokenImage):
            answer(picture[:100])
        assert answer(picture).startswith(b"\x89PNG")


async def test_work_that_lacks_memory_says_so_as_on_a_server() -> None:
    def exhaust_memory() -> None:
        raise MemoryError

    with pytest.raises(OutOfMemory):
        await _Here(threads=1).run(Deadline.after(5), exhaust_memory)


def test_lanes_that_cannot_open_say_why(tmp_path: Path) -> None:
    with (
        pytest.raises(ArtefactError, match="no model folder"),
        lanes(settings(tmp_path), Format.RLE, count=2, ask=ask),
    ):
        pass
