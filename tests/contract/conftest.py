"""Backends to test, and real servers behind them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from service.backends.base import Backend
from service.backends.embedded import EmbeddedBackend
from service.backends.triton import TritonBackend
from tests.contract.networks import TIGHT_QUEUE, write_model
from tests.triton_server.install import DONE
from tests.triton_server.server import TritonServer, running

SHARED_MEMORY_BYTES = 64 * 2**20


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that work, and models with one fault each."""
    folder = tmp_path_factory.mktemp("repository")
    for kind in ("plain", "half", "fail", "slow"):
        write_model(folder, kind, kind)
    write_model(folder, "tight", "slow", extra=TIGHT_QUEUE)
    return folder


@pytest.fixture(scope="session")
def triton_installed() -> None:
    if DONE.exists():
        return
    if os.environ.get("CI"):
        pytest.fail("Triton is not installed, and CI must test it: make triton-install")
    pytest.skip("Triton is not installed: make triton-install")


@pytest.fixture(scope="session")
def start_triton(triton_installed: None) -> Iterator[Callable[..., TritonServer]]:
    """Start servers that end with the test run at the latest."""
    started: list[TritonServer] = []

    def start(repository: Path, *options: str) -> TritonServer:
        server = TritonServer(repository, options)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.kill()


@pytest.fixture(scope="session")
def triton(repository: Path, start_triton: Callable[..., TritonServer]) -> TritonServer:
    """A server that stays up for the whole run."""
    return start_triton(repository)


@pytest.fixture(scope="module")
def mortal_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mortal")
    for kind in ("plain", "slow"):
        write_model(folder, kind, kind)
    return folder


@pytest.fixture(scope="module")
def mortal_process(mortal_repository: Path, triton_installed: None) -> Iterator[TritonServer]:
    with running(TritonServer(mortal_repository)) as server:
        yield server


@pytest.fixture
def mortal(mortal_process: TritonServer) -> TritonServer:
    """A running server that the test may kill."""
    if mortal_process.process is None:
        mortal_process.start()
    return mortal_process


@pytest.fixture
async def open_triton() -> AsyncIterator[Callable[..., TritonBackend]]:
    """Open backends that are closed with the test."""
    opened: list[TritonBackend] = []

    def make(*addresses: str, **options: float) -> TritonBackend:
        backend = TritonBackend(addresses, **options)  # type: ignore[arg-type]
        opened.append(backend)
        return backend

    yield make
    for backend in opened:
        await backend.aclose()


@pytest.fixture(
    params=[
        "embedded",
        pytest.param("triton-grpc", marks=pytest.mark.triton),
        pytest.param("triton-shm", marks=pytest.mark.triton),
    ]
)
async def backend(request: pytest.FixtureRequest, repository: Path) -> AsyncIterator[Backend]:
    """Every backend there is, started."""
    made: Backend
    match request.param:
        case "embedded":
            made = EmbeddedBackend(repository, threads=1, calls=2)
        case "triton-grpc":
            made = TritonBackend([request.getfixturevalue("triton").address])
        case _:
            made = TritonBackend(
                [request.getfixturevalue("triton").address],
                shared_memory_bytes=SHARED_MEMORY_BYTES,
            )
    await made.start()
    yield made
    await made.aclose()


@pytest.fixture(params=[0, SHARED_MEMORY_BYTES], ids=["grpc", "shm"])
def shared_memory_bytes(request: pytest.FixtureRequest) -> int:
    """Tensors by gRPC, and through shared memory."""
    return int(request.param)
