"""What telemetry costs: the same requests with and without it, in turn, in one process.

    python -m benchmarks.telemetry_cost [IMAGE] [--model nuclei] [--pairs 150]

With: metrics with exemplars, trace context, a JSON line in the log. Without: none of them. All of
that runs on the event loop's thread, so that thread's CPU time is compared, which neighbours on a
shared machine change least. Throughput is bounded by all threads together: the difference is given
as a part of what a request costs on all of them. A scrape is timed with every series there can be
for five models, of which two are shipped.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any, cast

import httpx2
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.middleware import Observe
from service.api.problems import PROBLEMS
from service.app import create_app
from service.settings import Settings
from service.telemetry.logs import JsonFormatter
from service.telemetry.metrics import Metrics
from service.telemetry.tracing import Trace

SCRAPES = 30
MODELS = 5


class Silent:
    """Stands for every metric at once and does nothing."""

    def __getattr__(self, _: str) -> Any:
        """Return itself for any metric and any of its methods."""
        return self

    def __call__(self, *_: object) -> Any:
        """Return itself for any call."""
        return self


class Unobserved:
    """What routes need of `Observe`, and nothing else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._trace = Trace.begin()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        scope.setdefault("state", {}).update(request_id="none", trace=self._trace, log={})
        await self._app(scope, receive, send)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path, nargs="?", default=Path("examples/nuclei.png"))
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--pairs", type=int, default=150)
    arguments = parser.parse_args()
    asyncio.run(_measure(arguments.image.read_bytes(), arguments.model, arguments.pairs))


async def _measure(image: bytes, model: str, pairs: int) -> None:
    _log_to(Path("/dev/null"))
    settings = Settings(default_model=model)
    observed, silent = create_app(settings), _without_telemetry(create_app(settings))
    async with AsyncExitStack() as stack:
        on, off = [await _client(stack, app) for app in (observed, silent)]

        async def ask(client: httpx2.AsyncClient) -> None:
            answer = await client.post(
                "/segment", content=image, headers={"Content-Type": "image/png"}
            )
            answer.raise_for_status()

        loop_s, all_s = await _in_turn(lambda: ask(on), lambda: ask(off), pairs)
        extra = median(loop_s[0]) - median(loop_s[1])
        whole = median(all_s[1])
        print(
            f"event loop, CPU of a request: with telemetry {median(loop_s[0]) * 1e3:.3f} ms, "
            f"without {median(loop_s[1]) * 1e3:.3f} ms, medians of {pairs} pairs"
        )
        print(f"all threads, without telemetry: {whole * 1e3:.1f} ms")
        print(f"telemetry: {extra * 1e6:.0f} us of CPU a request, {extra / whole:.2%}")
        _fill(observed.state.gateway.metrics)
        scrapes = [await _scrape(on) for _ in range(SCRAPES)]
        series, size = scrapes[0][1:]
        print(
            f"scrape: {series} series, {size / 1024:.0f} KiB, "
            f"median {median(took for took, *_ in scrapes) * 1e3:.1f} ms, "
            f"worst {max(took for took, *_ in scrapes) * 1e3:.1f} ms of {SCRAPES}"
        )


def _log_to(path: Path) -> None:
    handler = logging.StreamHandler(path.open("w"))
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def _without_telemetry(app: FastAPI) -> FastAPI:
    app.user_middleware = [
        Middleware(Unobserved) if cast("object", entry.cls) is Observe else entry
        for entry in app.user_middleware
    ]
    app.state.gateway.segmenter._metrics = Silent()
    return app


async def _client(stack: AsyncExitStack, app: FastAPI) -> httpx2.AsyncClient:
    await stack.enter_async_context(app.router.lifespan_context(app))
    await app.state.gateway.lifecycle.started.wait()
    transport = httpx2.ASGITransport(app)
    client = httpx2.AsyncClient(transport=transport, base_url="http://gateway", timeout=60)
    return await stack.enter_async_context(client)


async def _in_turn(
    first: Callable[[], Awaitable[None]], second: Callable[[], Awaitable[None]], pairs: int
) -> tuple[tuple[list[float], list[float]], tuple[list[float], list[float]]]:
    """Return the CPU times of both on this thread, and on all threads."""
    loop_s: tuple[list[float], list[float]] = ([], [])
    all_s: tuple[list[float], list[float]] = ([], [])
    calls = (first, second)
    for pair in range(-5, pairs):
        for which in (0, 1) if pair % 2 else (1, 0):  # whoever is second finds warmer caches
            began = time.thread_time(), time.process_time()
            await calls[which]()
            if pair >= 0:
                loop_s[which].append(time.thread_time() - began[0])
                all_s[which].append(time.process_time() - began[1])
    return loop_s, all_s


def _fill(metrics: Metrics) -> None:
    codes = [problem.code for problem in PROBLEMS.values()]
    for number in range(MODELS):
        model = f"model-{number}"
        for code in codes:
            metrics.requests.labels(model, code).inc()
            metrics.backend_duration.labels("triton", model, "1", code).observe(0.1)
    for status in {problem.status for problem in PROBLEMS.values()}:
        metrics.request_duration.labels("POST", "/segment", str(status)).observe(0.1)


async def _scrape(client: httpx2.AsyncClient) -> tuple[float, int, int]:
    began = time.thread_time()
    answer = await client.get(
        "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
    )
    took = time.thread_time() - began
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    return took, len(lines), len(answer.content)


if __name__ == "__main__":
    main()
