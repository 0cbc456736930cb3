"""What the gateway stands on gives way: the backend, the disk, the clock."""

from __future__ import annotations

import asyncio
import resource
import statistics
import time
from collections import Counter
from pathlib import Path

import orjson

from tests.chaos.ground import IMAGE, Row, answered, for_seconds, gateway, segment
from tests.chaos.jobs import archive, ended_job
from tests.chaos.wire import Outcome, Target
from tests.live import ROOT
from tests.triton_server.install import DONE
from tests.triton_server.server import TritonServer

TIMEOUT_S = 5.0
DAY_S = 86_400


async def backend_restarts(kills: int) -> list[Row]:
    """Kill Triton and start it again while clients ask and jobs are worked off."""
    if not DONE.exists():
        raise SystemExit("Triton is not installed: make triton-install")
    triton = TritonServer(ROOT / "model_repository")
    triton.start()
    gaps: list[float] = []
    try:
        with gateway(triton_url=triton.address) as live:
            target = Target.at(live.address)
            alone = statistics.median([(await segment(target)).seconds for _ in range(7)])
            job = await target.request("POST", "/jobs", archive(30), "application/zip")
            asking = asyncio.ensure_future(
                for_seconds(4.0 * kills + 4, 4, lambda: _within(target, TIMEOUT_S))
            )
            for _ in range(kills):
                await asyncio.sleep(1.5)
                triton.kill()
                await asyncio.sleep(0.5)
                await asyncio.to_thread(triton.start)
                gaps.append(await _until_answered(target) - alone)
            outcomes = await asking
            after = await segment(target)
            ended = await ended_job(target, job.headers["location"])
    finally:
        triton.kill()
    statuses = Counter(outcome.status for outcome in outcomes)
    seen = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
    undocumented = sum(n for status, n in statuses.items() if status not in {200, 502, 503, 504})
    late = max(outcome.seconds for outcome in outcomes) - TIMEOUT_S
    return [
        Row(f"{kills} kills of Triton under load ({seen}): answers of another kind, or none", "0",
            str(undocumented), undocumented == 0),
        Row("latest answer, against its deadline", "in time", f"{late:+.2f} s", late < 0.25),
        Row("first success once Triton is ready, beyond a request's usual time", "<= 0.5 s",
            f"{statistics.median(gaps):.2f} s", statistics.median(gaps) <= 0.5),
        Row("images of a job worked off meanwhile: done, failed", "30, 0",
            f"{ended['finished']}, {ended['failed']}",
            (ended["finished"], ended["failed"]) == (30, 0)),
        Row("the next request", "200", str(after.status), after.status == 200),
    ]  # fmt: skip


async def disk_full(folder: Path) -> list[Row]:
    """Let no file grow any more while a job is worked off, then give the disk back."""
    with gateway(jobs_file=str(folder / "jobs.sqlite3")) as live:
        target = Target.at(live.address)
        assert live.process is not None
        pid = live.process.pid
        before = await target.request("POST", "/jobs", archive(6), "application/zip")
        path = before.headers["location"]
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
        refused = [await target.request("POST", "/jobs", IMAGE) for _ in range(5)]
        beside = [await segment(target) for _ in range(5)]
        asked = await target.request("GET", path)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
        ended = await ended_job(target, path)
        again = await target.request("POST", "/jobs", IMAGE)
        last = await ended_job(target, again.headers["location"])
    statuses = sorted({outcome.status for outcome in refused})
    return [
        Row("the disk is full: new jobs", "503 with Retry-After", str(statuses),
            statuses == [503] and all("retry-after" in outcome.headers for outcome in refused)),
        Row("requests meanwhile, and a look at a job", "5 x 200, 200",
            f"{len(answered(beside))} x 200, {asked.status}",
            len(answered(beside)) == 5 and asked.status == 200),
        Row("there is room again: images of the job accepted before, done and failed", "6, 0",
            f"{ended['finished']}, {ended['failed']}",
            (ended["finished"], ended["failed"]) == (6, 0)),
        Row("the next job", "succeeded", last["status"], last["status"] == "succeeded"),
    ]  # fmt: skip


async def clock_jumps(folder: Path) -> list[Row]:
    """Put the wall clock a day forth, two days back, and right again, under load."""
    clock = folder / "clock"
    clock.write_text("0")
    settings = {"jobs_file": str(folder / "jobs.sqlite3"), "quota": "100000/minute"}
    live = gateway(**settings)
    live.module, live.environment = "tests.chaos.bent_clock", {"CHAOS_CLOCK": str(clock)}
    with live:
        target = Target.at(live.address)
        kept = await target.request("POST", "/segment?keep=true", IMAGE)
        jobs = []
        asking = asyncio.ensure_future(for_seconds(12, 4, lambda: _within(target, TIMEOUT_S)))
        for offset_s in (DAY_S, -DAY_S, 0):
            jobs.append(await target.request("POST", "/jobs", archive(3), "application/zip"))
            await asyncio.sleep(2)
            _replace(clock, str(offset_s))
            await asyncio.sleep(2)
        outcomes = await asking
        ended = [await ended_job(target, job.headers["location"]) for job in jobs]
        path = f"/segment?embedding={kept.headers['embedding-id']}"
        again = await target.request("POST", path)
    wrong = [outcome for outcome in outcomes if outcome.status != 200]
    shortest = min(min(orjson.loads(o.body)["timings_ms"].values()) for o in answered(outcomes))
    slowest = max(outcome.seconds for outcome in outcomes)
    return [
        Row(f"the clock jumps by days: of {len(outcomes)} requests not answered", "0",
            str(len(wrong)), not wrong),
        Row("slowest of them", f"< {TIMEOUT_S:g} s", f"{slowest:.2f} s", slowest < TIMEOUT_S),
        Row("shortest stage in any answer", ">= 0 ms", f"{shortest:g} ms", shortest >= 0),
        Row("jobs accepted before a jump that ended whole", str(len(jobs)),
            str(sum(job["finished"] == 3 for job in ended)),
            all(job["finished"] == 3 for job in ended)),
        Row("an embedding kept before them", "200", str(again.status), again.status == 200),
    ]  # fmt: skip


async def _within(target: Target, seconds: float) -> Outcome:
    return await target.request("POST", f"/segment?timeout_ms={seconds * 1e3:.0f}", IMAGE)


async def _until_answered(target: Target) -> float:
    began = time.perf_counter()
    while (await segment(target)).status != 200:  # noqa: ASYNC110 - as a client does
        await asyncio.sleep(0.005)
    return time.perf_counter() - began


def _replace(path: Path, text: str) -> None:
    """Write a file that somebody else may be reading."""
    other = path.with_suffix(".new")
    other.write_text(text)
    other.replace(path)
