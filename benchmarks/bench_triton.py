"""The gateway in front of a real Triton: what it adds, what moving tensors costs, what kills do.

    python -m benchmarks.bench_triton gateway [--side 512] [--rounds 5] [--requests 8]
                                              [--clients 1 4] [--transport memory wire]
    python -m benchmarks.bench_triton transport [--repeats 30]
    python -m benchmarks.bench_triton client [--repeats 30]
    python -m benchmarks.bench_triton kills [--kills 20]

Everything that is compared is measured in turn in one run, and medians are compared.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import statistics
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tritonclient.grpc.aio
from PIL import Image

from benchmarks.kills import kill_repeatedly
from benchmarks.lean_client import LeanClient
from benchmarks.perf_analyzer import Load, fetch, measure
from benchmarks.running_gateway import running_gateway
from service.backends.base import Backend, CallContext
from service.backends.embedded import EmbeddedBackend
from service.backends.triton import TritonBackend
from service.domain import Deadline
from tests.contract.networks import write_model
from tests.triton_server.server import TritonServer, running

REPOSITORY = Path("model_repository")
SHARED_MEMORY_BYTES = 2**28
WAYS = {"memory": "shared memory", "wire": "gRPC"}


def main() -> None:
    """Run one of the measurements and print its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["gateway", "transport", "client", "kills"])
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--repository", type=Path, default=REPOSITORY)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--transport", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--kills", type=int, default=20)
    arguments = parser.parse_args()
    if arguments.what == "client":
        with tempfile.TemporaryDirectory() as folder:
            write_model(Path(folder), "plain")
            with running(TritonServer(Path(folder))) as triton:
                asyncio.run(compare_clients(triton, arguments))
        return
    with running(TritonServer(arguments.repository)) as triton:
        match arguments.what:
            case "gateway":
                compare_with_perf_analyzer(triton, arguments)
            case "transport":
                asyncio.run(compare_transports(triton, arguments))
            case _:
                kill_repeatedly(triton, scene(arguments.side), kills=arguments.kills)


def scene(side: int) -> bytes:
    """Return the shipped example, tiled to a size, as the kind of file that it is: a grey PNG."""
    image = np.asarray(Image.open("examples/nuclei.png"))
    times = -(-side // min(image.shape))
    file = io.BytesIO()
    Image.fromarray(np.tile(image, (times, times))[:side, :side]).save(file, "PNG")
    return file.getvalue()


def compare_with_perf_analyzer(triton: TritonServer, arguments: argparse.Namespace) -> None:
    """Compare ``/segment`` with perf_analyzer on the same model and shape."""
    fetch()
    data = scene(arguments.side)
    side = arguments.side
    print(f"{arguments.model} at {side}x{side}, {arguments.rounds} rounds of each in turn")
    print(f"/segment gets a grey PNG file of {len(data) / 1e3:.0f} KB, perf_analyzer sends pixels")
    print("| transport | clients | perf_analyzer ms, /s | /segment ms, /s | latency | throughput |")
    print("|---|---|---|---|---|---|")
    stages = []
    for transport in arguments.transport:
        shared_memory = transport == "memory"
        with segmenting(triton, arguments.model, shared_memory=shared_memory) as address:
            for concurrency in arguments.clients:
                load = Load(arguments.model, (side, side, 3), concurrency, shared_memory)
                theirs, ours = [], []
                spent: dict[str, list[float]] = {}
                for _ in range(arguments.rounds):
                    theirs.append(
                        measure(
                            triton.address,
                            load,
                            requests=arguments.requests,
                            output_bytes=side * side * 64,
                        )
                    )
                    ours.append(
                        drive(address, data, concurrency, 3 * arguments.requests, stages=spent)
                    )
                (ms, rate), (own_ms, own_rate) = middle(theirs), middle(ours)
                measured = f"{ms:.1f}, {rate:.2f} | {own_ms:.1f}, {own_rate:.2f}"
                ratios = f"{own_ms / ms:.2f}x | {own_rate / rate:.2f}x"
                print(f"| {WAYS[transport]} | {concurrency} | {measured} | {ratios} |", flush=True)
                parts = ", ".join(f"{name} {statistics.median(spent[name]):.1f}" for name in spent)
                stages.append(f"{WAYS[transport]}, {concurrency} clients: {parts}")
    print("Median milliseconds of /segment by stage:", *stages, sep="\n")


@contextlib.contextmanager
def segmenting(triton: TritonServer, model: str, *, shared_memory: bool) -> Iterator[str]:
    """Run a gateway in front of a server and give the URL to post to."""
    with running_gateway(
        triton_url=triton.address, triton_shared_memory=str(shared_memory).lower()
    ) as (address, _):
        yield f"{address}/segment?model={model}"


def middle(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the median of both columns."""
    first, second = zip(*pairs, strict=True)
    return statistics.median(first), statistics.median(second)


def drive(
    url: str,
    data: bytes,
    concurrency: int,
    requests: int,
    *,
    stages: dict[str, list[float]] | None = None,
) -> tuple[float, float]:
    """Post an image over and over; return median milliseconds and answers per second.

    What the answers say of their stages is added to `stages`, with the rest as ``outside``.
    """
    told: dict[str, list[float]] = {} if stages is None else stages
    spent: list[float] = []
    tickets = iter(range(requests))

    def client() -> None:
        with contextlib.closing(LeanClient(url, data, "image/png")) as connection:
            for _ in tickets:
                began = time.perf_counter()
                headers = connection.post()
                took_ms = (time.perf_counter() - began) * 1e3
                spent.append(took_ms)
                parts = [part.split(";dur=") for part in headers["server-timing"].split(", ")]
                stages_ms = {name: float(value) for name, value in parts}
                outside = took_ms - stages_ms["total"]
                for name, value in {**stages_ms, "outside": outside}.items():
                    told.setdefault(name, []).append(value)

    threads = [threading.Thread(target=client) for _ in range(concurrency)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statistics.median(spent), len(spent) / (time.perf_counter() - began)


async def compare_transports(triton: TritonServer, arguments: argparse.Namespace) -> None:
    """Compare one call in process, by gRPC and through shared memory."""
    ways: dict[str, Backend] = {
        "in process": EmbeddedBackend(REPOSITORY, threads=2, calls=1),
        "gRPC": TritonBackend([triton.address]),
        "shared memory": TritonBackend([triton.address], shared_memory_bytes=SHARED_MEMORY_BYTES),
    }
    for backend in ways.values():
        await backend.start()
    print("| side | MiB in, out | " + " | ".join(ways) + " | share of transport: gRPC, shm |")
    print("|---|---|---|---|---|---|")
    for side in (256, 512, 1024):
        images = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
        spent: dict[str, list[float]] = {way: [] for way in ways}
        compute: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(arguments.repeats):
            for way, backend in ways.items():
                model = await backend.model(arguments.model)
                before = _server_compute_ms(triton, arguments.model)
                began = time.perf_counter()
                outputs = await backend.infer(
                    images, model, CallContext("bench", Deadline.after(60.0))
                )
                spent[way].append((time.perf_counter() - began) * 1e3)
                compute[way].append(_server_compute_ms(triton, arguments.model) - before)
                mib = (outputs.bytes_in / 2**20, outputs.bytes_out / 2**20)
        cells = " | ".join(f"{statistics.median(times):.1f}" for times in spent.values())
        shares = ", ".join(f"{_transport_share(spent[w], compute[w]):.1%}" for w in list(ways)[1:])
        print(f"| {side} | {mib[0]:.2f}, {mib[1]:.2f} | {cells} | {shares} |", flush=True)
    for backend in ways.values():
        await backend.aclose()


async def compare_clients(triton: TritonServer, arguments: argparse.Namespace) -> None:
    """Compare NVIDIA's asyncio client with ours on a network that costs next to nothing."""
    theirs = tritonclient.grpc.aio.InferenceServerClient(triton.address)
    wire = TritonBackend([triton.address])
    memory = TritonBackend([triton.address], shared_memory_bytes=SHARED_MEMORY_BYTES)
    await wire.start()
    await memory.start()
    model = await wire.model("plain")

    async def by_client(images: npt.NDArray[np.uint8]) -> None:
        tensor = tritonclient.grpc.InferInput("image", images.shape, "UINT8")
        tensor.set_data_from_numpy(images)
        reply = await theirs.infer("plain", [tensor])
        reply.as_numpy("embedding"), reply.as_numpy("foreground")

    def by_backend(backend: Backend) -> Callable[[npt.NDArray[np.uint8]], Awaitable[Any]]:
        return lambda images: backend.infer(
            images, model, CallContext("bench", Deadline.after(60.0))
        )

    ways = {
        "tritonclient": by_client,
        "ours, gRPC": by_backend(wire),
        "ours, shared memory": by_backend(memory),
    }
    print("| side | " + " | ".join(f"{way} ms" for way in ways) + " |\n|---|---|---|---|")
    for side in (256, 512, 1024):
        images = np.zeros((1, side, side, 3), np.uint8)
        spent: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(arguments.repeats):
            # To and fro: whoever comes second finds the memory that the first has just let go of.
            for way, call in sorted(ways.items(), reverse=bool(turn % 2)):
                began = time.perf_counter()
                await call(images)
                spent[way].append((time.perf_counter() - began) * 1e3)
        cells = " | ".join(
            f"{statistics.median(t):.1f} (best {min(t):.1f})" for t in spent.values()
        )
        print(f"| {side} | {cells} |", flush=True)
    for closing in (theirs.close(), wire.aclose(), memory.aclose()):
        await closing


def _server_compute_ms(triton: TritonServer, model: str) -> float:
    labels = f'{{model="{model}",version="1"}}'
    time.sleep(0.05)  # the server counts a call after its answer
    return triton.metrics()[f"nv_inference_compute_infer_duration_us{labels}"] / 1e3


def _transport_share(spent: list[float], compute: list[float]) -> float:
    """Return the part of a call that is not the network's run, as the server timed it."""
    pairs = zip(spent, compute, strict=True)
    return statistics.median((whole - network) / whole for whole, network in pairs)


if __name__ == "__main__":
    main()
