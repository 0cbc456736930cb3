from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.deploy.local_image import Image, Store, download_wheels
from tests.deploy.manifests import ROOT

MISSING: Final = [name for name in ("buildah", "unshare", "setpriv") if shutil.which(name) is None]
READY_WITHIN_S: Final = 10.0
LARGEST_MIB: Final = 550

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting the image needs root"),
]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    wheels, store = tmp_path_factory.mktemp("wheels"), Store(tmp_path_factory.mktemp("images"))
    fetched = download_wheels(wheels)
    if fetched.returncode != 0:
        pytest.skip(f"no package index to build the image from: {fetched.stderr[-200:]}")
    yield store.build(wheels)
    store.remove()


@dataclass
class Running:
    port: int
    pid: int
    ready_after_cpu_s: float

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        headers = {"Content-Type": "image/png"} if body else {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def status(self) -> dict[str, list[str]]:
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8").splitlines()
        return {line.split(":")[0]: line.split(":")[1].split() for line in lines}

    def files(self, folder: str) -> dict[str, int]:
        inside = Path(f"/proc/{self.pid}/root{folder}")
        return {
            path.relative_to(inside).as_posix(): path.stat().st_size
            for path in inside.rglob("*")
            if path.is_file()
        }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used, all threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descendant(pid: int) -> int:
    """Return the last of a line of only children: the process in the container."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    return descendant(int(children[0])) if children else pid


@pytest.fixture(scope="module")
def running(image: Image) -> Iterator[Running]:
    port, began = free_port(), time.monotonic()
    with image.start(
        DISCERN_PORT=str(port), DISCERN_WORKERS="2", DISCERN_ALLOW_ANONYMOUS="true"
    ) as process:
        try:
            while not is_ready(port):
                assert process.poll() is None, "the gateway ended"
                assert time.monotonic() - began < 120, "the gateway is not ready in two minutes"
                time.sleep(0.02)
            inside = descendant(process.pid)
            yield Running(port, inside, cpu_seconds(inside))
            os.kill(inside, signal.SIGTERM)
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()


def test_the_gateway_is_ready_in_time_and_needs_no_network(running: Running) -> None:
    """Start-up is one thread, nearly: its processor time is its time on an idle machine."""
    assert running.ready_after_cpu_s < READY_WITHIN_S


def test_the_gateway_in_the_image_answers_an_image(running: Running) -> None:
    status, body = running.ask("POST", "/segment", (ROOT / "examples/nuclei.png").read_bytes())
    assert (status, len(json.loads(body)["instances"]) > 0) == (200, True)


def test_the_gateway_runs_as_the_images_user_without_privileges(running: Running) -> None:
    status = running.status()
    assert status["Uid"] == ["10001"] * 4
    assert status["CapEff"] == status["CapPrm"] == ["0000000000000000"]
    assert status["NoNewPrivs"] == ["1"]


def test_the_kernels_come_from_the_image_and_nothing_is_compiled_again(running: Running) -> None:
    running.ask("POST", "/segment", (ROOT / "examples/nuclei.png").read_bytes())
    compiled = running.files("/opt/discern/kernels")
    assert len(compiled) > 0
    assert running.files("/tmp/kernels") == compiled  # noqa: S108  # the image's NUMBA_CACHE_DIR


def test_nothing_but_the_kernels_is_ever_written(running: Running) -> None:
    running.ask("POST", "/segment", (ROOT / "examples/nuclei.png").read_bytes())
    written = running.files("/tmp")  # noqa: S108  # the only place that can be written to
    assert {path.split("/")[0] for path in written} == {"kernels"}


@pytest.mark.parametrize("place", ["/", "/opt/discern", "/models"])
def test_nothing_in_the_image_can_be_changed(image: Image, place: str) -> None:
    assert image.run("touch", f"{place}/planted").returncode != 0


def test_the_health_check_fails_when_nobody_answers(image: Image) -> None:
    (kind, *command) = image.config["Healthcheck"]["Test"]
    assert kind == "CMD"
    assert image.run(*command).returncode != 0


@pytest.mark.parametrize("name", ["torch", "pip", "setuptools", "training", "pytest"])
def test_what_serving_does_not_need_is_not_in_the_image(image: Image, name: str) -> None:
    assert list(image.root.glob(f"opt/discern/lib/python3*/site-packages/{name}")) == []


def test_the_image_stays_small(image: Image) -> None:
    own = [path for top in ("opt", "models") for path in (image.root / top).rglob("*")]
    size = sum(path.lstat().st_size for path in own if not path.is_dir())
    assert size < LARGEST_MIB * 2**20
