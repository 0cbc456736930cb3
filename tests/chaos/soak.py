"""A long day: all that clients do, right and wrong, at an even pace, and the memory meanwhile."""

from __future__ import annotations

import asyncio
import io
import random
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from PIL import Image

from tests.chaos.ground import IMAGE, Row, gateway, gauge
from tests.chaos.wire import GONE, Outcome, Target, hang_up, head
from tests.fuzz.hostile import mutate, seeds

SAMPLES = 40
FORMATS = ("rle", "rle_uncompressed", "polygons", "coco", "label_png", "overlay_png", "panels_png")
FAULTS = {500, 501, 502, 505}


class Client:
    """Does one thing or another; the same ones in the same order each time."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._choose = random.Random(1)  # noqa: S311 - the same every time
        self._seeds = seeds()
        self._crops = _crops()
        self._acts: dict[Callable[[], Awaitable[Outcome]], int] = {
            self._segment: 60,
            self._send_damaged: 20,
            self._keep_and_ask_again: 6,
            self._hand_in_a_job: 6,
            self._leave: 5,
            self._look_around: 3,
        }

    async def act(self) -> Outcome:
        (act,) = self._choose.choices(list(self._acts), list(self._acts.values()))
        return await act()

    async def _segment(self) -> Outcome:
        image, form = self._choose.choice(self._crops), self._choose.choice(FORMATS)
        return await self._target.request("POST", f"/segment?format={form}", image)

    async def _send_damaged(self) -> Outcome:
        image = mutate(self._choose, self._seeds)
        return await self._target.request("POST", "/segment", image)

    async def _keep_and_ask_again(self) -> Outcome:
        image = self._choose.choice(self._crops)
        kept = await self._target.request("POST", "/segment?keep=true", image)
        name = kept.headers.get("embedding-id", "none")
        return await self._target.request("POST", f"/segment?embedding={name}&bandwidth=1.5")

    async def _hand_in_a_job(self) -> Outcome:
        job = await self._target.request("POST", "/jobs", self._choose.choice(self._crops))
        await asyncio.sleep(2)
        return await self._target.request("GET", f"{job.headers.get('location', '/jobs/x')}/result")

    async def _leave(self) -> Outcome:
        whole = head("POST", "/segment", len(IMAGE)) + IMAGE
        _, writer = await self._target.connect()
        writer.write(whole[: self._choose.randrange(len(whole) + 1)])
        await asyncio.sleep(self._choose.choice([0.0, 0.02, 0.2]))
        await hang_up(writer)
        return Outcome(GONE, 0, {}, b"left")

    async def _look_around(self) -> Outcome:
        path = self._choose.choice(["/limits", "/models", "/metrics", "/openapi.json", "/readyz"])
        return await self._target.request("GET", path)


async def soak(folder: Path, seconds: float, rate: float) -> list[Row]:
    """Act so many times a second and watch the memory."""
    settings = {"jobs_file": str(folder / "jobs"), "job_keep_s": "60", "embedding_cache_s": "30"}
    with gateway(**settings) as live:
        target = Target.at(live.address)
        client, acts, samples = Client(target), list[asyncio.Task[Outcome]](), list[float]()
        began = time.perf_counter()
        while (gone := time.perf_counter() - began) < seconds:
            acts.append(asyncio.create_task(client.act()))
            if gone >= (len(samples) + 1) * seconds / SAMPLES:
                samples.append(await gauge(target, "process_resident_memory_bytes") / 2**20)
            await asyncio.sleep(max(0.0, began + len(acts) / rate - time.perf_counter()))
        outcomes = await asyncio.gather(*acts)
        samples.append(await gauge(target, "process_resident_memory_bytes") / 2**20)
        held = await gauge(target, "segment_inflight_requests")
    early, late = samples[SAMPLES // 10 : SAMPLES // 4], samples[-SAMPLES // 10 :]
    growth = statistics.median(late) / statistics.median(early) - 1
    statuses = Counter(outcome.status for outcome in outcomes if outcome.body != b"left")
    seen = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
    wrong = sum(count for status, count in statuses.items() if status in FAULTS or status == GONE)
    at = [f"{samples[int(part * (len(samples) - 1))]:.0f}" for part in (0, 0.25, 0.5, 0.75, 1)]
    return [
        Row(f"{seconds / 60:.0f} minutes, {len(outcomes)} acts: growth of memory from the first "
            "quarter to the last tenth", "<= 5 %", f"{growth:+.1%}", growth <= 0.05),
        Row("MiB at the beginning, at each quarter, at the end", "flat", " ".join(at),
            growth <= 0.05),
        Row(f"faults of the server, and connections lost ({seen})", "0", str(wrong), wrong == 0),
        Row("in flight at the end", "0", f"{held:g}", held == 0),
    ]  # fmt: skip


def _crops() -> list[bytes]:
    """Return parts of the example in a dozen sizes, so that memory is asked for in as many."""
    choose, crops = random.Random(2), list[bytes]()  # noqa: S311 - the same every time
    with Image.open(io.BytesIO(IMAGE)) as image:
        for _ in range(12):
            width, height = choose.randint(40, image.width), choose.randint(40, image.height)
            buffer = io.BytesIO()
            image.crop((0, 0, width, height)).save(buffer, "PNG")
            crops.append(buffer.getvalue())
    return crops
