"""Jobs at the real server: handed in, worked off, kept over a crash and over a full disk."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.networks import write_model
from tests.live import Answer, LiveGateway
from tests.unit.gateway.calls import png

Start = Callable[[], LiveGateway]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """A function that returns a gateway over the same file of jobs, not yet started."""
    write_model(tmp_path, "plain")
    write_model(tmp_path, "slow", "slow")
    settings = {
        "model_repository": str(tmp_path),
        "default_model": "plain",
        "jobs_file": str(tmp_path / "jobs"),
    }
    return lambda: LiveGateway(settings)


def submit(gateway: LiveGateway, image: bytes, query: str = "", **headers: str) -> Answer:
    return gateway.request("POST", f"/jobs{query}", image, content_type="image/png", **headers)


def ended(gateway: LiveGateway, accepted: Answer) -> Any:
    path = accepted.headers["location"]
    while (job := gateway.request("GET", path).json())["status"] in {"queued", "running"}:
        time.sleep(0.02)
    return job


def test_whoever_prefers_to_be_answered_later_gets_the_same_answer(start: Start) -> None:
    with start() as gateway:
        now = gateway.segment(png(), "?format=coco")
        later = gateway.request(
            "POST", "/segment?format=coco", png(), content_type="image/png", prefer="respond-async"
        )
        assert (later.status, later.headers["preference-applied"]) == (202, "respond-async")
        job = ended(gateway, later)
        assert gateway.request("GET", job["result"]).body == now.body


def test_a_job_that_was_being_worked_on_when_the_server_died_is_done_by_the_next(
    start: Start,
) -> None:
    with start() as gateway:
        accepted = submit(gateway, png(corner=15), "?model=slow", idempotency_key="k")
        while gateway.request("GET", accepted.headers["location"]).json()["status"] == "queued":
            time.sleep(0.02)
        gateway.kill()
    with start() as gateway:
        again = submit(gateway, png(corner=15), "?model=slow", idempotency_key="k")
        assert again.headers["location"] == accepted.headers["location"]
        assert ended(gateway, accepted)["status"] == "succeeded"


def test_a_full_disk_refuses_jobs_keeps_those_accepted_and_bothers_nobody_else(
    start: Start,
) -> None:
    with start() as gateway:
        accepted = submit(gateway, png(corner=3), "?model=slow")
        assert gateway.process is not None
        pid = gateway.process.pid
        _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, most))
        refused = submit(gateway, png())
        assert (refused.status, refused.json()["code"]) == (503, "jobs-unavailable")
        assert int(refused.headers["retry-after"]) > 0
        assert gateway.segment(png()).status == 200
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, most))
        assert ended(gateway, accepted)["status"] == "succeeded"
        assert ended(gateway, submit(gateway, png()))["status"] == "succeeded"
