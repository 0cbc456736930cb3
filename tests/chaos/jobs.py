"""Servers that are killed while they work jobs off."""

from __future__ import annotations

import asyncio
import io
import zipfile
from pathlib import Path
from typing import Any

import orjson

from tests.chaos.ground import IMAGE, Row, gateway
from tests.chaos.wire import Target


async def kill_job_runner(folder: Path, kills: int, jobs: int) -> list[Row]:
    """Kill the server again and again while it works jobs off."""
    settings = {"jobs_file": str(folder / "jobs.sqlite3"), "job_runners": "2"}
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for number in range(3):
            archive.writestr(f"{number}.png", IMAGE)
    accepted: list[str] = []
    for turn in range(kills):
        with gateway(**settings) as live:
            target = Target.at(live.address)
            for _ in range(jobs // kills):
                job = await target.request(
                    "POST", "/jobs", body.getvalue(), "application/zip",
                    f"Idempotency-Key: {turn}-{len(accepted)}\r\n",
                )  # fmt: skip
                accepted += [job.headers["location"]] if job.status == 202 else []
            assert live.process is not None
            await asyncio.sleep(0.6)
            live.process.kill()
            live.process.wait()
    with gateway(**settings) as live:
        target = Target.at(live.address)
        results = [await _ended_job(target, path) for path in accepted]
        names = [await _names(target, path) for path in accepted]
    whole = sum(job["finished"] == job["total"] == 3 for job in results)
    once = sum(sorted(name[:1] for name in found) == ["0", "1", "2"] for found in names)
    documented = sum(job["failed"] for job in results)
    return [
        Row(f"{kills} kill -9 of the job runner: {len(accepted)} accepted jobs that ended",
            str(len(accepted)), str(whole), whole == len(accepted)),
        Row("jobs whose images have one outcome each", str(len(accepted)), str(once),
            once == len(accepted)),
        Row("documented failures among the images", "few", str(documented), documented < kills),
    ]  # fmt: skip


async def _ended_job(target: Target, path: str) -> Any:
    while True:
        job = orjson.loads((await target.request("GET", path)).body)
        if job["status"] not in {"queued", "running"}:
            return job
        await asyncio.sleep(0.2)


async def _names(target: Target, path: str) -> list[str]:
    result = await target.request("GET", f"{path}/result")
    with zipfile.ZipFile(io.BytesIO(result.body)) as archive:
        return archive.namelist()
