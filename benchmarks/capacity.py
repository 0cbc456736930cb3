"""How many gateways and GPUs a rate needs, and whether the model behind it is right.

    python -m benchmarks.capacity measure [IMAGE] [--model nuclei]      CPU of each stage
    python -m benchmarks.capacity validate [IMAGE] [--plot FILE]   the model against a load test
    python -m benchmarks.capacity plan --rate 100 --p99-ms 500 --cpu-ms 5 --network-ms 80

``validate`` sends requests at random moments, whether or not earlier ones are answered, to a real
gateway that works on `SLOTS` at a time. The network waits instead of computing, gamma distributed
as measured ones are: a machine shared with others computes at a different speed every second, and
no model of queues could follow. The rest is as it is; the service time that the model gets is what
the answers' timings say, all but ``queue``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import httpx2
import numpy as np
import numpy.typing as npt

from benchmarks.capacity_model import Station, percentile_s, plan
from benchmarks.running_gateway import running_gateway
from service.app import create_app
from service.backends.base import Backend, CallContext, Model, Outputs
from service.settings import Settings

LOADS = (0.4, 0.6, 0.75, 0.9)
SLOTS = 4
WAIT_S = 0.08
WAIT_CV2 = 0.3
PERCENTS = (50, 95, 99)


def main() -> None:
    """Run one of the three commands."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("measure", "validate"):
        command = commands.add_parser(name)
        command.add_argument("image", type=Path, nargs="?", default=Path("examples/nuclei.png"))
        command.add_argument("--model", default="nuclei")
        command.add_argument("--requests", type=int, default=400)
        command.add_argument("--plot", type=Path)
    planning = commands.add_parser("plan")
    planning.add_argument("--rate", type=float, required=True, help="requests a second")
    planning.add_argument("--p99-ms", type=float, required=True)
    planning.add_argument(
        "--cpu-ms", type=float, required=True, help="CPU of a gateway per request"
    )
    planning.add_argument("--network-ms", type=float, required=True, help="GPU (or core) per image")
    planning.add_argument("--cores", type=int, default=2, help="cores of a gateway")
    arguments = parser.parse_args()
    if arguments.command == "plan":
        _plan(arguments)
    elif arguments.command == "measure":
        asyncio.run(_measure(arguments))
    else:
        asyncio.run(_validate(arguments))


def _plan(arguments: argparse.Namespace) -> None:
    cpu, network = arguments.cpu_ms / 1e3, arguments.network_ms / 1e3
    found = plan(
        [Station(1, cpu, 0.2), Station(1, network, 0.1)], arguments.rate, arguments.p99_ms / 1e3
    )
    if found is None:
        print("no number of servers: service alone takes longer")
        return
    gateways = -(-found[0].servers // arguments.cores)
    print(
        f"{found[0].servers} cores ({gateways} gateways of {arguments.cores}), "
        f"{found[1].servers} GPUs or cores for the network: "
        f"p99 {percentile_s(found, arguments.rate, 99) * 1e3:.0f} ms, "
        f"busy {found[0].load(arguments.rate):.0%} and {found[1].load(arguments.rate):.0%}"
    )


async def _measure(arguments: argparse.Namespace) -> None:
    image = arguments.image.read_bytes()
    settings = {"workers": "1", "inference_threads": "1", "max_in_flight": "1"}
    with running_gateway(**settings) as (address, pid):
        async with _client(address) as client:
            await _one_by_one(client, image, arguments.model, 10)
            began = _cpu_s(pid)
            stages = await _one_by_one(client, image, arguments.model, arguments.requests)
            spent = (_cpu_s(pid) - began) / arguments.requests
    print(f"{arguments.image.name}, {arguments.requests} requests, one thread for each part")
    print(f"CPU of a request {spent * 1e3:.1f} ms, that of the network (inference) included")
    for stage in stages[0]:
        print(f"  {stage:12} median {median(entry[stage] for entry in stages):7.2f} ms")


class WaitingBackend:
    """A backend that answers what its inner one did at first, after a wait of random length."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self._random = np.random.default_rng(1)
        self._first: Outputs | None = None

    def __getattr__(self, name: str) -> Any:
        """Leave all but `infer` to the inner backend."""
        return getattr(self._inner, name)

    async def infer(
        self, images: npt.NDArray[np.uint8], model: Model, context: CallContext
    ) -> Outputs:
        """Wait, then answer."""
        if self._first is None:
            self._first = await self._inner.infer(images, model, context)
        await asyncio.sleep(self._random.gamma(1 / WAIT_CV2, WAIT_S * WAIT_CV2))
        return self._first


async def _validate(arguments: argparse.Namespace) -> None:
    image = arguments.image.read_bytes()
    app = create_app(Settings(max_in_flight=SLOTS, max_queue=10_000, default_model=arguments.model))
    segmenter = app.state.gateway.segmenter
    rows = []
    async with app.router.lifespan_context(app):
        await app.state.gateway.lifecycle.started.wait()
        segmenter.backend = WaitingBackend(segmenter.backend)
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app), base_url="http://gateway", timeout=300
        ) as client:
            before = await _one_by_one(client, image, arguments.model, 40)
            service_s = mean(_service_s(entry) for entry in before)
            for load in LOADS:
                rate = load * SLOTS / service_s
                rows.append(_compare(await _at_random(client, image, arguments, rate), rate))
                print(_row(rows[-1]), flush=True)
    if arguments.plot:
        _plot(rows, arguments.plot)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the model says of a load, and what was measured."""

    rate: float
    station: Station
    predicted_s: list[float]
    measured_s: list[float]


def _compare(answered: list[dict[str, float]], rate: float) -> Comparison:
    services = np.array([_service_s(entry) for entry in answered])
    station = Station(SLOTS, float(services.mean()), float((services.std() / services.mean()) ** 2))
    totals = [entry["total"] / 1e3 for entry in answered]
    return Comparison(
        rate,
        station,
        [percentile_s([station], rate, percent) for percent in PERCENTS],
        [float(np.percentile(totals, percent)) for percent in PERCENTS],
    )


def _service_s(timings: dict[str, float]) -> float:
    return (timings["total"] - timings["queue"]) / 1e3


def _row(row: Comparison) -> str:
    pairs = "  ".join(
        f"p{percent} {ours * 1e3:.0f} / {theirs * 1e3:.0f} ms"
        for percent, ours, theirs in zip(PERCENTS, row.predicted_s, row.measured_s, strict=True)
    )
    return (
        f"{row.rate:.1f}/s, service {row.station.service_s * 1e3:.0f} ms "
        f"(cv2 {row.station.cv2:.2f}), load {row.station.load(row.rate):.0%}: "
        f"predicted / measured  {pairs}"
    )


def _client(address: str) -> httpx2.AsyncClient:
    limits = httpx2.Limits(max_connections=1000, max_keepalive_connections=1000)
    return httpx2.AsyncClient(base_url=address, timeout=300, limits=limits)


async def _post(client: httpx2.AsyncClient, image: bytes, model: str) -> dict[str, float]:
    answer = await client.post(
        f"/segment?model={model}", content=image, headers={"Content-Type": "image/png"}
    )
    answer.raise_for_status()
    timings: dict[str, float] = answer.json()["timings_ms"]
    return timings


async def _one_by_one(
    client: httpx2.AsyncClient, image: bytes, model: str, requests: int
) -> list[dict[str, float]]:
    return [await _post(client, image, model) for _ in range(requests)]


async def _at_random(
    client: httpx2.AsyncClient, image: bytes, arguments: argparse.Namespace, rate: float
) -> list[dict[str, float]]:
    random = np.random.default_rng(0)
    due = time.perf_counter() + np.cumsum(random.exponential(1 / rate, arguments.requests))

    async def ask(at: float) -> dict[str, float]:
        await asyncio.sleep(max(0.0, at - time.perf_counter()))
        return await _post(client, image, arguments.model)

    return await asyncio.gather(*(ask(at) for at in due))


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _plot(rows: list[Comparison], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "discern"  # the same picture, the same file
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    cv2 = mean(row.station.cv2 for row in rows)
    loads = np.linspace(0.05, 0.92, 40)
    for number, percent in enumerate(PERCENTS):
        curve = [percentile_s([Station(SLOTS, 1.0, cv2)], load * SLOTS, percent) for load in loads]
        axes.plot(loads, curve, f"C{number}", label=f"p{percent}, model")
        measured = [row.measured_s[number] / row.station.service_s for row in rows]
        at = [row.station.load(row.rate) for row in rows]
        axes.plot(at, measured, f"C{number}o", label=f"p{percent}, measured")
    axes.set(
        xlabel=f"load of {SLOTS} servers",
        ylabel="time in service times",
        yscale="log",
    )
    axes.legend(ncols=3, fontsize="small")
    axes.grid(visible=True, which="both", alpha=0.3)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
