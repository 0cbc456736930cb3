"""Clients that leave, that dawdle, and that send what would burst a careless server."""

from __future__ import annotations

import asyncio
import random
import statistics
import time

from tests.bombs import refused
from tests.chaos.ground import IMAGE, Row, answered, gateway, gauge, segment
from tests.chaos.jobs import archive
from tests.chaos.wire import GONE, Outcome, Target, gather_limited, hang_up, head


async def disconnects(clients: int) -> list[Row]:
    """Hang up in the headers, in the body, in the queue, at work, and while answers come."""
    choose = random.Random(0)  # noqa: S311 - the same every time
    with gateway() as live:
        target = Target.at(live.address)
        await segment(target)
        several = archive(3)
        requests = [
            head("POST", "/segment", len(IMAGE)) + IMAGE,
            head("POST", "/segment/batch", len(several), "application/zip") + several,
        ]

        async def leave() -> Outcome:
            reader, writer = await target.connect()
            whole = choose.choice(requests)
            sent = choose.choice([30, 150, len(whole) // 2, len(whole)])
            writer.write(whole[:sent])
            if sent == len(whole) and choose.random() < 0.3:
                await reader.read(100)
            else:
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
