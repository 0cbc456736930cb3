from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.manifests import ROOT
from tests.deploy.traffic import Callers, Service
from tests.live import LiveGateway
from tests.scenes import draw_scene, png_of, write_scenes_model
from tests.triton_server.install import DONE
from tests.triton_server.server import TritonServer, running

IMAGE = (ROOT / "examples/nuclei.png").read_bytes()
SCENE = png_of(draw_scene(3)[0])
LARGE = (ROOT / "examples/nuclei-large.png").read_bytes()
SETTINGS = {
    "workers": "1",
    "inference_threads": "1",
    "drain_s": "60",
    "timeout_ms": "60000",
    "max_timeout_ms": "60000",
}

pytestmark = pytest.mark.slow


def scenes(folder: Path, *versions: str) -> Path:
    """A repository with so many versions of the model that knows every scene."""
    model = write_scenes_model(folder)
    config = model / "config.pbtxt"
    config.write_text(config.read_text() + "version_policy { latest { num_versions: 2 } }\n")
    network = (model / "1/model.onnx").read_bytes()
    shutil.rmtree(model / "1")
    for version in versions:
        (model / version).mkdir()
        (model / version / "model.onnx").write_bytes(network)
    return folder


@pytest.fixture
def tritons(tmp_path: Path) -> Iterator[tuple[TritonServer, TritonServer]]:
    """Triton as it was, and Triton with a new version of the model beside the old one."""
    if not DONE.exists():
        if os.environ.get("CI"):
            pytest.fail("no Triton server: run make triton-install")
        pytest.skip("no Triton server: run make triton-install")
    old = TritonServer(scenes(tmp_path / "old", "1"))
    new = TritonServer(scenes(tmp_path / "new", "1", "2"))
    with running(old), running(new):
        yield old, new


def gateway_to(*servers: TritonServer) -> LiveGateway:
    addresses = ",".join(server.address for server in servers)
    return LiveGateway(SETTINGS | {"triton_url": addresses, "default_model": "scenes"})


@pytest.fixture
def next_release(tmp_path: Path) -> LiveGateway:
    """The next gateway, with a new version of the model beside the old one."""
    repository = tmp_path / "model_repository"
    shutil.copytree(ROOT / "model_repository/nuclei", repository / "nuclei")
    shutil.copytree(repository / "nuclei/1", repository / "nuclei/2")
    return LiveGateway(SETTINGS | {"model_repository": str(repository)})


def test_gateway_and_model_are_replaced_under_load_without_a_failed_request(
    next_release: LiveGateway,
) -> None:
    with (
        LiveGateway(SETTINGS) as old,
        Service([old.address]) as service,
        Callers(service.port, IMAGE) as callers,
    ):
        assert callers.answered(6)
        with next_release as new:  # maxSurge: it is ready before the old one goes
            service.endpoints = [old.address, new.address]
            assert callers.answered(12)
            service.endpoints = [new.address]  # terminating: off every proxy's list …
            assert callers.answered(6)  # … while preStop waits, and the old one serves on
            assert old.stop() == 0
            assert callers.answered(6)
            callers.stop()
    assert callers.outcomes.keys() == {"200"}
    assert callers.versions.keys() == {"1", "2"}


@pytest.mark.triton
def test_gateways_and_tritons_of_two_releases_serve_side_by_side(
    tritons: tuple[TritonServer, TritonServer],
) -> None:
    """As on Kubernetes: each release has a Triton of its own, named for its models."""
    old_triton, new_triton = tritons
    with (
        gateway_to(old_triton) as old,
        Service([old.address]) as service,
        Callers(service.port, SCENE) as callers,
    ):
        assert callers.answered(20)
        with gateway_to(new_triton) as new:
            service.endpoints = [old.address, new.address]
            assert callers.answered(40)
            service.endpoints = [new.address]
            assert callers.answered(20)
            assert old.stop() == 0
            old_triton.stop()  # the last to go: its gateways are gone
            assert callers.answered(20)
            callers.stop()
    assert callers.outcomes.keys() == {"200"}
    assert callers.versions.keys() == {"1", "2"}


@pytest.mark.triton
def test_gateways_outlive_a_change_of_models_under_them(
    tritons: tuple[TritonServer, TritonServer],
) -> None:
    """An old gateway meets the new model, and a new gateway the old one: both see both servers."""
    old_triton, new_triton = tritons
    with (
        gateway_to(old_triton, new_triton) as old,
        gateway_to(new_triton, old_triton) as new,
        Service([old.address, new.address]) as service,
        Callers(service.port, SCENE) as callers,
    ):
        assert callers.answered(60)
        old_triton.stop()
        assert callers.answered(60)
        callers.stop()
    assert callers.outcomes.keys() == {"200"}
    assert callers.versions.keys() == {"1", "2"}


def test_a_gateway_that_is_taken_away_without_a_pause_is_noticed() -> None:
    """The traffic is such that a wrong order of steps shows."""
    with (
        LiveGateway(SETTINGS) as old,
        LiveGateway(SETTINGS) as new,
        Service([old.address, new.address]) as service,
        Callers(service.port, IMAGE) as callers,
    ):
        assert callers.answered(6)
        assert old.stop() == 0
        assert callers.answered(6)
        callers.stop()
    assert callers.outcomes.keys() > {"200"}


def test_callers_who_keep_their_connections_move_on_without_a_failed_request() -> None:
    """Their connections stay when a Service takes an endpoint off its list."""
    with (
        LiveGateway(SETTINGS | {"drain_notice_s": "10"}) as old,
        LiveGateway(SETTINGS) as new,
        Service([old.address]) as service,
        Callers(service.port, IMAGE, keep_alive=True) as callers,
    ):
        assert callers.answered(6)
        service.endpoints = [new.address]
        assert callers.answered(6)  # still by the old one, which knows of nothing
        assert old.stop() == 0
        assert callers.answered(6)
        callers.stop()
    assert callers.outcomes.keys() == {"200"}


def test_a_kept_connection_is_served_within_the_notice_and_told_that_it_ends() -> None:
    with LiveGateway(SETTINGS | {"drain_notice_s": "10"}) as live:
        kept = live.connect()
        kept.request("GET", "/livez")
        assert kept.getresponse().read()
        assert live.process is not None
        live.process.terminate()
        while live.request("GET", "/readyz").status == 200:
            pass
        kept.request("POST", "/segment", IMAGE, {"Content-Type": "image/png"})
        answer = kept.getresponse()
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        kept.close()


def test_a_connection_that_is_idle_is_closed_rather_than_refused_later() -> None:
    with LiveGateway(SETTINGS) as live:
        busy, idle = live.connect(), live.connect()
        idle.request("GET", "/livez")
        idle.getresponse().read()
        busy.request("POST", "/segment", LARGE, {"Content-Type": "image/png"})
        while b"segment_inflight_requests 1.0" not in live.request("GET", "/metrics").body:
            pass
        assert live.process is not None
        live.process.terminate()
        idle.sock.settimeout(60)
        assert idle.sock.recv(1) == b""
        assert busy.getresponse().status == 200
        busy.close()
        idle.close()
