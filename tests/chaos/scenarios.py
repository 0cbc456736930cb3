"""What goes wrong on a bad day, done to a real gateway, and what must still be true afterwards."""

from __future__ import annotations

import asyncio
import io
import random
import signal
import statistics
import time
import zipfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tests.bombs import refused
from tests.chaos.wire import GONE, Outcome, Target, gather_limited, hang_up, head
from tests.live import ROOT, LiveGateway

IMAGE = (ROOT / "examples" / "nuclei.png").read_bytes()
SLOTS, QUEUE = 4, 8


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report."""

    what: str
    asked: str
    measured: str
    good: bool


def gateway(**settings: str) -> LiveGateway:
    return LiveGateway(
        {"max_in_flight": str(SLOTS), "max_queue": str(QUEUE), "log_level": "error", **settings}
    )


async def gauge(target: Target, name: str) -> float:
    text = (await target.request("GET", "/metrics")).body.decode()
    lines = [line for line in text.splitlines() if line.startswith(name)]
    return float(lines[0].rpartition(" ")[2])


async def segment(target: Target, image: bytes = IMAGE) -> Outcome:
    return await target.request("POST", "/segment", image)


async def for_seconds(
    seconds: float, clients: int, ask: Callable[[], Awaitable[Outcome]]
) -> list[Outcome]:
    """Let so many clients ask one after the other."""
    until, outcomes = time.perf_counter() + seconds, list[Outcome]()

    async def client() -> None:
        while time.perf_counter() < until:
            outcomes.append(await ask())

    await asyncio.gather(*(client() for _ in range(clients)))
    return outcomes


def answered(outcomes: list[Outcome]) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.status == 200]


async def overload(seconds: float) -> list[Row]:
    """Offer four times what the gateway can do."""
    with gateway() as live:
        target = Target.at(live.address)
        await for_seconds(3, SLOTS, lambda: segment(target))
        peak = len(answered(await for_seconds(15, SLOTS + 2, lambda: segment(target)))) / 15
        bound_s = (SLOTS + QUEUE) / peak
        pause_s, began, offered = 1 / (4 * peak), time.perf_counter(), list[asyncio.Task[Outcome]]()
        while (now := time.perf_counter()) < began + seconds:
            offered.append(asyncio.create_task(segment(target)))
            await asyncio.sleep(max(0.0, began + len(offered) * pause_s - now))
        outcomes = await asyncio.gather(*offered)
        lasted = time.perf_counter() - began
        await asyncio.sleep(2)
        after = len(answered(await for_seconds(10, SLOTS + 2, lambda: segment(target)))) / 10
    good = answered(outcomes)
    turned_away = [outcome for outcome in outcomes if outcome.status == 503]
    times = sorted(outcome.seconds for outcome in good)
    p99 = times[int(0.99 * (len(times) - 1))]
    refusal_ms = 1e3 * statistics.median(outcome.seconds for outcome in turned_away)
    others = len(outcomes) - len(good) - len(turned_away)
    goodput = len(good) / lasted
    return [
        Row(f"4x overload for {seconds:g} s: goodput, of {peak:.1f}/s at most", ">= 90 %",
            f"{goodput / peak:.0%}", goodput >= 0.9 * peak),
        Row("p99 of accepted requests, against a full queue's wait", "<= 2x",
            f"{p99 / bound_s:.2f}x", p99 <= 2 * bound_s),
        Row(f"median refusal ({len(turned_away)} refused with Retry-After)", "< 10 ms",
            f"{refusal_ms:.1f} ms",
            refusal_ms < 10 and all("retry-after" in outcome.headers for outcome in turned_away)),
        Row("neither answered nor refused", "0", str(others), others == 0),
        Row("speed 2 s after, of the speed before", "full", f"{after / peak:.0%}",
            after >= 0.9 * peak),
    ]  # fmt: skip


async def disconnects(clients: int) -> list[Row]:
    """Hang up in the headers, in the body, in the queue and at work."""
    choose = random.Random(0)  # noqa: S311 - the same every time
    with gateway() as live:
        target = Target.at(live.address)
        await segment(target)
        whole = head("POST", "/segment", len(IMAGE)) + IMAGE

        async def leave() -> Outcome:
            _, writer = await target.connect()
            writer.write(whole[: choose.choice([30, 150, len(whole) // 2, len(whole)])])
            await asyncio.sleep(choose.choice([0.0, 0.02, 0.2]))
            await hang_up(writer)
            return Outcome(GONE, 0, {}, b"")

        await gather_limited(50, [leave() for _ in range(clients)])
        began = time.perf_counter()
        names = ("segment_inflight_requests", "segment_queue_depth",
                 'segment_worker_threads{state="busy"}')  # fmt: skip
        while any([await gauge(target, name) for name in names]):  # noqa: ASYNC110 - as a scraper
            await asyncio.sleep(0.05)
        settled = time.perf_counter() - began
        alive = (await segment(target)).status
    return [
        Row(f"{clients} clients hang up: in flight, waiting and busy threads back to 0",
            "after one stage", f"{settled:.2f} s", settled < 5),
        Row("the next request", "200", str(alive), alive == 200),
    ]  # fmt: skip


async def slow_bodies(clients: int) -> list[Row]:
    """Send bodies a byte at a time, and headers that never end."""
    with gateway(receive_s="3") as live:
        target = Target.at(live.address)
        alone = statistics.median([(await segment(target)).seconds for _ in range(7)])
        statuses: list[bytes] = []

        async def drip(start: bytes) -> Outcome:
            reader, writer = await target.connect()
            writer.write(start)
            line = asyncio.ensure_future(reader.readline())
            for _ in range(12):
                if not line.done():
                    writer.write(b"x")
                    await asyncio.sleep(0.5)
            statuses.append(line.result()[9:12] if line.done() else b"none")
            line.cancel()
            await hang_up(writer)
            return Outcome(GONE, 0, {}, b"")

        bodies = [drip(head("POST", "/segment", 10**6)) for _ in range(clients)]
        heads = [drip(b"POST /segment HTTP/1.1\r\nX-Long: ") for _ in range(clients)]
        dripping = asyncio.ensure_future(gather_limited(2 * clients, bodies + heads))
        await asyncio.sleep(0.5)
        beside = [await segment(target) for _ in range(7)]
        probe = statistics.median([(await target.request("GET", "/livez")).seconds
                                   for _ in range(21)])  # fmt: skip
        await dripping
        held = await gauge(target, "segment_inflight_requests")
    ratio = statistics.median(outcome.seconds for outcome in beside) / alone
    fine = len(answered(beside))
    return [
        Row(f"{2 * clients} slow senders: requests beside them answered", "7 of 7", f"{fine} of 7",
            fine == 7),
        Row("their time against no slow senders", "about 1x", f"{ratio:.2f}x", ratio < 2),
        Row("liveness probe meanwhile", "< 50 ms", f"{probe * 1e3:.1f} ms", probe < 0.05),
        Row("slow bodies ended with 408", str(clients), str(statuses.count(b"408")),
            statuses.count(b"408") == clients),
        Row("slots they hold afterwards", "0", f"{held:g}", held == 0),
    ]  # fmt: skip


async def terminate_under_load() -> list[Row]:
    """Ask the server to end while clients keep asking."""
    with gateway() as live:
        target = Target.at(live.address)
        assert live.process is not None
        loading = asyncio.ensure_future(for_seconds(6, 10, lambda: segment(target)))
        await asyncio.sleep(3)
        began = time.perf_counter()
        live.process.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(live.process.wait, 60)
        seconds = time.perf_counter() - began
        outcomes = await loading
    lost = [o for o in outcomes if o.status == GONE and o.body != b"refused"]
    wrong = [o for o in outcomes if o.status not in {200, 503, GONE}]
    return [
        Row(f"SIGTERM under load: of {len(answered(outcomes))} answered, accepted and lost", "0",
            str(len(lost) + len(wrong)), not lost and not wrong),
        Row("exit status, and seconds to the end", "0, < 30 s", f"{status}, {seconds:.1f} s",
            status == 0 and seconds < 30),
    ]  # fmt: skip


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


async def bombs() -> list[Row]:
    """Send pictures that would unpack to gigapixels."""
    files = {kind: data for kind, data in refused().items() if len(data) < 10**6}
    with gateway() as live:
        target = Target.at(live.address)
        await segment(target)
        before = await gauge(target, "process_resident_memory_bytes")
        outcomes = [
            await segment(target, bomb) for bomb in files.values() for _ in range(5)
        ]  # fmt: skip
        grown = (await gauge(target, "process_resident_memory_bytes") - before) / 2**20
    best = [min(o.seconds for o in outcomes[at : at + 5]) for at in range(0, len(outcomes), 5)]
    slowest, kind = max(zip(best, files, strict=True))
    statuses = sorted({outcome.status for outcome in outcomes})
    return [
        Row(f"{len(files)} kinds of bomb: refused as", "4xx", str(statuses),
            all(400 <= status < 500 for status in statuses)),
        Row(f"slowest kind ({kind}), from request to answer, best of 5", "< 20 ms",
            f"{slowest * 1e3:.1f} ms", slowest < 0.02),
        Row("memory that stays", "< 5 MiB", f"{grown:.1f} MiB", grown < 5),
    ]  # fmt: skip


async def soak(seconds: float) -> list[Row]:
    """Ask good and bad things for a long time and watch the memory."""
    choose = random.Random(1)  # noqa: S311 - the same every time
    broken = [IMAGE[:900], b"", b"\x00" * 5000, IMAGE[:200] + bytes(300) + IMAGE[500:]]
    with gateway() as live:
        target = Target.at(live.address)

        async def any_request() -> Outcome:
            body = IMAGE if choose.random() < 0.7 else choose.choice(broken)
            form = choose.choice(["rle", "polygons", "label_png", "coco", "overlay_png"])
            return await target.request("POST", f"/segment?format={form}", body)

        samples, outcomes = [], []
        for _ in range(10):
            outcomes += await for_seconds(seconds / 10, 6, any_request)
            samples.append(await gauge(target, "process_resident_memory_bytes") / 2**20)
    growth = statistics.median(samples[-3:]) / statistics.median(samples[2:5]) - 1
    wrong = [o.status for o in outcomes if o.status >= 500 and o.status != 503]
    return [
        Row(f"soak of {seconds:g} s, {len(outcomes)} requests: growth of memory", "<= 5 %",
            f"{growth:.1%} ({samples[-1]:.0f} MiB)", growth <= 0.05),
        Row("answers that are a fault of the server", "0", str(len(wrong)), not wrong),
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
