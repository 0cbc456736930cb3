"""Deadlines at the real server: kept, told by stage, and without a trace afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.networks import write_model
from tests.live import LiveGateway
from tests.unit.gateway.calls import png

FOREVER = png(corner=250)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    folder = tmp_path_factory.mktemp("deadlines")
    write_model(folder, "slow", "slow")
    settings = {
        "model_repository": str(folder),
        "default_model": "slow",
        "max_in_flight": "1",
        "max_timeout_ms": "60000",
    }
    with LiveGateway(settings) as live:
        yield live


@pytest.mark.parametrize(
    ("query", "headers"), [("?timeout_ms=300", {}), ("", {"x_request_timeout": "0.3"})]
)
def test_an_answer_that_is_not_there_in_time_is_a_504_that_names_the_stage(
    slow: LiveGateway, query: str, headers: dict[str, str]
) -> None:
    path = f"/segment{query}"
    answer = slow.request("POST", path, FOREVER, content_type="image/png", **headers)
    assert (answer.status, answer.json()["code"]) == (504, "deadline-exceeded")
    assert answer.json()["stage"] == "inference"


def test_its_slot_is_free_afterwards_and_the_next_request_is_answered(slow: LiveGateway) -> None:
    slow.segment(FOREVER, "?timeout_ms=300")
    assert slow.segment(png()).status == 200
    assert b"segment_inflight_requests 0.0" in slow.request("GET", "/metrics").body


def test_more_time_than_there_is_to_have_is_refused(slow: LiveGateway) -> None:
    answer = slow.segment(png(), "?timeout_ms=60001")
    assert (answer.status, answer.json()["parameter"]) == (422, "timeout_ms")
