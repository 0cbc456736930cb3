"""Two gateways that share one Redis: what one accepts is worked off, whichever is killed."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.contract.networks import write_model
from tests.live import LiveGateway
from tests.redis_server.server import RedisServer
from tests.unit.gateway.calls import png

IMAGES = 6


@pytest.fixture
def settings(tmp_path: Path, redis_server: RedisServer) -> dict[str, str]:
    write_model(tmp_path, "slow", "slow")
    return {
        "model_repository": str(tmp_path),
        "default_model": "slow",
        "jobs_store": redis_server.url,
        "job_lease_s": "1",
        "quota": "12/hour",
        "quota_store": redis_server.url,
    }


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for number in range(IMAGES):
            zipped.writestr(f"{number}.png", png(corner=1 + number % 3))
    return buffer.getvalue()


def submit(gateway: LiveGateway, key: str) -> str:
    accepted = gateway.request(
        "POST", "/jobs", archive(), Content_Type="application/zip", Idempotency_Key=key
    )
    assert accepted.status == 202
    return accepted.headers["location"]


def ended(gateway: LiveGateway, path: str) -> Any:
    while (job := gateway.request("GET", path).json())["status"] in {"queued", "running"}:
        time.sleep(0.05)
    return job


def names(gateway: LiveGateway, path: str) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(gateway.request("GET", f"{path}/result").body)) as answers:
        return sorted(answers.namelist())


def test_every_job_ends_once_though_the_gateway_that_works_on_it_is_killed(
    settings: dict[str, str],
) -> None:
    with LiveGateway(settings) as doomed, LiveGateway(settings) as other:
        paths = [submit(gateway, f"{n}") for n in range(2) for gateway in (doomed, other)]
        assert paths[0] == paths[1]  # the same key and content, given to either
        while not any(doomed.request("GET", path).json()["finished"] for path in paths):
            time.sleep(0.02)
        assert doomed.process is not None
        doomed.process.kill()
        for path in set(paths):
            job = ended(other, path)
            assert (job["status"], job["finished"], job["failed"]) == ("succeeded", IMAGES, 0)
            assert names(other, path) == [f"{number}.png.json" for number in range(IMAGES)]


def test_a_quota_counts_at_every_gateway(settings: dict[str, str]) -> None:
    with LiveGateway(settings) as first, LiveGateway(settings) as second:
        gateways = (first, second)
        statuses = [gateways[n % 2].segment(b"no image").status for n in range(14)]
    assert statuses == [415] * 12 + [429] * 2
