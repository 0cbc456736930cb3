"""Servers that are killed while they work jobs off."""

from __future__ import annotations

import asyncio
import io
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson

from tests.chaos.ground import IMAGE, Row, gateway
from tests.chaos.wire import Target
from tests.redis_server.server import RedisServer, located


async def kill_job_runner(folder: Path, kills: int, jobs: int) -> list[Row]:
    """Kill the server again and again while it works jobs off."""
    settings = {"jobs_file": str(folder / "jobs.sqlite3"), "job_runners": "2"}
    accepted: list[str] = []
    for turn in range(kills):
        with gateway(**settings) as live:
            target = Target.at(live.address)
            accepted += await _submit(target, jobs // kills, f"{turn}")
            await asyncio.sleep(0.6)
            live.kill()
    with gateway(**settings) as live:
        return await _outcomes(Target.at(live.address), accepted, kills)


async def kill_shared_runners(folder: Path, kills: int, jobs: int) -> list[Row]:
    """Kill one of two gateways that share their jobs, again and again."""
    with RedisServer(located(), folder) as redis, ExitStack() as stack:
        settings = {"jobs_store": redis.url, "job_lease_s": "2", "job_runners": "2"}
        lasting = stack.enter_context(gateway(**settings))
        accepted: list[str] = []
        for turn in range(kills):
            with gateway(**settings) as doomed:
                for live in (doomed, lasting):
                    name = f"{turn}-{live.address}"
                    accepted += await _submit(Target.at(live.address), jobs // kills // 2, name)
                await asyncio.sleep(0.6)
                doomed.kill()
        return await _outcomes(Target.at(lasting.address), accepted, kills)


async def _submit(target: Target, jobs: int, name: str) -> list[str]:
    accepted = []
    for number in range(jobs):
        key = f"Idempotency-Key: {name}-{number}\r\n"
        job = await target.request("POST", "/jobs", archive(3), "application/zip", key)
        accepted += [job.headers["location"]] if job.status == 202 else []
    return accepted


async def _outcomes(target: Target, accepted: list[str], kills: int) -> list[Row]:
    results = [await ended_job(target, path) for path in accepted]
    names = [await _names(target, path) for path in accepted]
    whole = sum(job["finished"] == job["total"] == 3 for job in results)
    once = sum(sorted(name[:1] for name in found) == ["0", "1", "2"] for found in names)
    documented = sum(job["failed"] for job in results)
    return [
        Row(f"{kills} kill -9 of a job runner: {len(accepted)} accepted jobs that ended",
            str(len(accepted)), str(whole), whole == len(accepted)),
        Row("jobs whose images have one outcome each", str(len(accepted)), str(once),
            once == len(accepted)),
        Row("documented failures among the images", "few", str(documented), documented < kills),
    ]  # fmt: skip


def archive(images: int) -> bytes:
    """Return so many copies of the example, as a zip archive."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as zipped:
        for number in range(images):
            zipped.writestr(f"{number}.png", IMAGE)
    return body.getvalue()


async def ended_job(target: Target, path: str) -> Any:
    """Wait for the end of a job and return what is told of it."""
    while True:
        job = orjson.loads((await target.request("GET", path)).body)
        if job["status"] not in {"queued", "running"}:
            return job
        await asyncio.sleep(0.2)


async def _names(target: Target, path: str) -> list[str]:
    result = await target.request("GET", f"{path}/result")
    with zipfile.ZipFile(io.BytesIO(result.body)) as archive:
        return archive.namelist()
