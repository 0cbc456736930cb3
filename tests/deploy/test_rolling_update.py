from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.deploy.manifests import ROOT
from tests.deploy.traffic import Callers, Service
from tests.live import LiveGateway

IMAGE = (ROOT / "examples/nuclei.png").read_bytes()
SETTINGS = {
    "workers": "1",
    "inference_threads": "1",
    "drain_s": "60",
    "timeout_ms": "60000",
    "max_timeout_ms": "60000",
}

pytestmark = pytest.mark.slow


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
