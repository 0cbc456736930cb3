"""What goes wrong at a real server, as clients of the gateway see it (docs/TRITON.md)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import tritonclient.grpc

from tests.contract.networks import TIGHT_QUEUE, write_model
from tests.scenes import MODEL, png_of, running_server, write_scenes_model
from tests.triton_server.server import TritonServer, running

pytestmark = pytest.mark.triton

AS_PNG = {"Content-Type": "image/png"}
WAIT_MS = 400


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("answers")
    write_scenes_model(folder)
    for kind in ("slow", "half", "fail"):
        write_model(folder, kind, kind)
    write_model(folder, "tight", "slow", extra=TIGHT_QUEUE)
    return folder


@pytest.fixture(scope="module")
def server_process(repository: Path, triton_installed: None) -> Iterator[TritonServer]:
    options = ["--model-control-mode=explicit", "--load-model=*"]
    with running(TritonServer(repository, options)) as server:
        yield server


@pytest.fixture(scope="module")
def http(repository: Path, server_process: TritonServer) -> Iterator[httpx2.Client]:
    """A client of a gateway in front of that server, with shared memory."""
    settings = {"triton_shared_memory": True, "triton_wait_ms": WAIT_MS, "max_in_flight": 8}
    with (
        running_server(repository, triton_url=server_process.address, **settings) as address,
        httpx2.Client(base_url=address, timeout=60) as client,
    ):
        yield client


@pytest.fixture
def server(server_process: TritonServer, http: httpx2.Client) -> TritonServer:
    """The running server, which the test may kill."""
    if server_process.process is None:
        server_process.start()
    return server_process


def lever(value: int) -> bytes:
    image = np.zeros((16, 16, 3), np.uint8)
    image[0, 0, 0] = value
    return png_of(image)


def ask(http: httpx2.Client, model: str, value: int = 0, **query: Any) -> httpx2.Response:
    parameters = {"model": model, **query}
    return http.post("/segment", content=lever(value), headers=AS_PNG, params=parameters)


def eventually(holds: Callable[[], bool], *, within_s: float = 10.0) -> None:
    give_up = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def is_problem(response: httpx2.Response, status: int) -> bool:
    kind = response.headers["content-type"]
    return (
        response.status_code == status
        and kind.startswith("application/problem+json")
        and response.json()["status"] == status
        and bool(response.json()["request_id"])
    )


def test_a_server_that_is_down_is_503_and_says_when_to_come_back(
    http: httpx2.Client, server: TritonServer
) -> None:
    server.kill()
    response = ask(http, MODEL)
    assert is_problem(response, 503)
    assert int(response.headers["Retry-After"]) >= 1
    assert is_problem(ask(http, MODEL, timeout_ms=WAIT_MS // 2), 504)


def test_a_server_that_is_back_is_200_again(http: httpx2.Client, server: TritonServer) -> None:
    assert ask(http, MODEL).status_code == 200
    server.kill()
    server.start()
    assert ask(http, MODEL).status_code == 200


def test_a_server_killed_during_a_call_is_503(http: httpx2.Client, server: TritonServer) -> None:
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(ask, http, "slow", 200)
        wait([call], timeout=0.5)  # it is on its way, and works for 20 s
        server.kill()
        assert is_problem(call.result(), 503)


def test_a_call_that_is_too_slow_is_504(http: httpx2.Client, server: TritonServer) -> None:
    assert server.is_ready()
    assert is_problem(ask(http, "slow", 30, timeout_ms=300), 504)


def test_a_full_queue_is_503_for_those_who_find_no_room(
    http: httpx2.Client, server: TritonServer
) -> None:
    assert server.is_ready()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(http, "tight", 5), range(8)))
    refused = [answer for answer in answers if answer.status_code != 200]
    assert refused
    assert len(refused) < 8
    assert all(is_problem(answer, 503) for answer in refused)
    assert {answer.json()["detail"] for answer in refused} == {
        "the inference server's queue is full"
    }


@pytest.mark.parametrize(("model", "value"), [("half", 0), ("fail", 1)])
def test_a_wrong_network_is_502(
    http: httpx2.Client, server: TritonServer, model: str, value: int
) -> None:
    assert server.is_ready()
    assert is_problem(ask(http, model, value), 502)


def test_a_model_that_is_not_there_or_no_more_is_404(
    http: httpx2.Client, server: TritonServer
) -> None:
    assert is_problem(ask(http, "nobody"), 404)
    assert is_problem(ask(http, MODEL, version="7"), 404)
    assert ask(http, "slow").status_code == 200
    with tritonclient.grpc.InferenceServerClient(server.address) as control:
        control.unload_model("slow")
        # Who meets the model as it goes hears of a server that is loading; the next one knows.
        assert ask(http, "slow").status_code in (404, 503)
        assert is_problem(ask(http, "slow"), 404)
        control.load_model("slow")
    eventually(lambda: ask(http, "slow").status_code == 200)


def test_an_answer_larger_than_grpc_takes_by_default_is_200(
    http: httpx2.Client, server: TritonServer
) -> None:
    assert server.is_ready()
    image = png_of(np.zeros((1024, 1024, 3), np.uint8))  # 8 MiB of embedding; gRPC stops at 4
    assert http.post("/segment", content=image, headers=AS_PNG).status_code == 200


def test_an_image_larger_than_is_taken_is_413(http: httpx2.Client, server: TritonServer) -> None:
    assert server.is_ready()
    image = png_of(np.zeros((1, 40_000, 3), np.uint8))
    assert is_problem(http.post("/segment", content=image, headers=AS_PNG), 413)
