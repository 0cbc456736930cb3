"""What every scenario stands on: a real gateway with few slots, something to ask, a report."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.chaos.wire import Outcome, Target
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
