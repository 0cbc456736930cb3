"""What a real gateway tells about real requests: headers, answers, log, metrics and spans agree."""

from __future__ import annotations

import http.client
import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from logging.handlers import QueueHandler
from queue import Queue
from typing import Any
from urllib.parse import urlsplit

import pytest

from service.domain import STAGES
from service.telemetry.logs import JsonFormatter
from tests.scenes import MODEL, draw_scene, png_of, running_server, write_scenes_model
from tests.unit.telemetry.collector import Collector, running_collector

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
SCENE = png_of(draw_scene(seed=3)[0])
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@dataclass(frozen=True, slots=True)
class Asked:
    """An answer, whatever its status."""

    status: int
    headers: Message
    body: bytes


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[str]:
    repository = tmp_path_factory.mktemp("models")
    write_scenes_model(repository)
    with running_server(repository, otlp_endpoint=collector.address) as running:
        yield running


def ask(url: str, body: bytes | None = None, **headers: str) -> Asked:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body, named)  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310 - loopback
            return Asked(reply.status, reply.headers, reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return Asked(error.code, error.headers, error.read())


def segment(address: str, body: bytes = SCENE, query: str = "", **headers: str) -> Asked:
    return ask(f"{address}/segment{query}", body, content_type="image/png", **headers)


def server_timing(answer: Asked) -> dict[str, float]:
    parts = (part.split(";dur=") for part in answer.headers["Server-Timing"].split(", "))
    return {name: float(value) for name, value in parts}


Log = Queue[logging.LogRecord]


@pytest.fixture
def log() -> Iterator[Log]:
    """Every line of the access log, from now on."""
    written: Log = Queue()
    handler = QueueHandler(written)
    logger = logging.getLogger("service.access")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield written
    logger.removeHandler(handler)
    logger.setLevel(level)


def lines_until(log: Log, request_id: str) -> list[dict[str, Any]]:
    """Return the lines up to that of a request; it is written after its answer is out."""
    found: list[dict[str, Any]] = []
    while not found or found[-1]["request_id"] != request_id:
        found.append(json.loads(JsonFormatter().format(log.get(timeout=60))))
    return found


def test_header_and_answer_tell_the_same_times(address: str) -> None:
    answer = segment(address)
    assert server_timing(answer) == json.loads(answer.body)["timings_ms"]


def test_stages_add_up_to_the_total(address: str) -> None:
    times = json.loads(segment(address).body)["timings_ms"]
    # Each is rounded to a microsecond.
    assert sum(times[stage] for stage in STAGES) == pytest.approx(times["total"], abs=0.003)


def test_the_time_that_an_image_takes_to_arrive_is_no_time_in_the_queue(
    address: str, log: Log
) -> None:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    connection.putrequest("POST", "/segment")
    for name, value in (("Content-Type", "image/png"), ("X-Request-ID", "slow")):
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(SCENE)))
    connection.endheaders(SCENE[:100])
    time.sleep(0.3)
    connection.send(SCENE[100:])
    assert connection.getresponse().status == 200
    connection.close()
    line = lines_until(log, "slow")[-1]
    assert line["duration_ms"] - line["total_ms"] >= 250


def test_a_request_writes_one_line_that_says_it_all(address: str, log: Log) -> None:
    answer = segment(address, traceparent=TRACEPARENT, x_request_id="mine")
    segment(address, x_request_id="after")
    (line,) = [line for line in lines_until(log, "after") if line["request_id"] == "mine"]
    told = json.loads(answer.body)
    expected = {
        "request_id": "mine", "trace_id": TRACE, "method": "POST", "path": "/segment",
        "status": 200, "outcome": "ok", "bytes_in": len(SCENE), "bytes_out": len(answer.body),
        "model": MODEL, "version": "1", "image": "120x96", "instances": len(told["instances"]),
        **{f"{stage}_ms": value for stage, value in told["timings_ms"].items()},
    }  # fmt: skip
    assert line.items() >= expected.items()
    assert line["duration_ms"] >= line["total_ms"]


@pytest.mark.parametrize(
    ("body", "query", "expected"),
    [
        (b"no image", "", (415, "unsupported-format", MODEL)),
        (SCENE[:200], "", (422, "broken-image", MODEL)),
        (SCENE, "?model=nobody", (404, "model-not-found", "unknown")),
        (SCENE, "?min_score=7", (422, "bad-parameter", MODEL)),
    ],
)
def test_a_failure_is_logged_and_counted_under_the_code_that_the_client_gets(
    address: str, log: Log, body: bytes, query: str, expected: tuple[int, str, str]
) -> None:
    answer = segment(address, body, query, x_request_id="failing")
    line = lines_until(log, "failing")[-1]
    assert (answer.status, json.loads(answer.body)["code"]) == expected[:2]
    assert (line["status"], line["outcome"], line.get("model", "unknown")) == expected
    label = f'segment_requests_total{{model="{expected[2]}",outcome="{expected[1]}"}}'
    assert label in ask(f"{address}/metrics").body.decode()


def test_only_requests_for_segments_are_logged_by_default(address: str, log: Log) -> None:
    ask(f"{address}/livez", x_request_id="probe")
    segment(address, x_request_id="after")
    assert "probe" not in {line["request_id"] for line in lines_until(log, "after")}


def test_paths_that_do_not_exist_share_one_label(address: str) -> None:
    ask(f"{address}/a/path/of/mine")
    text = ask(f"{address}/metrics").body.decode()
    assert 'http_route="unmatched"' in text
    assert "of/mine" not in text


def test_durations_carry_the_trace_as_exemplars_in_openmetrics_only(address: str, log: Log) -> None:
    segment(address, traceparent=TRACEPARENT, x_request_id="marked")
    lines_until(log, "marked")
    mark = f'# {{trace_id="{TRACE}"}}'
    open_text = ask(f"{address}/metrics", accept=OPENMETRICS).body.decode()
    marked = {line.partition("_bucket")[0] for line in open_text.splitlines() if mark in line}
    assert marked == {
        "http_server_request_duration_seconds",
        "segment_stage_duration_seconds",
        "backend_request_duration_seconds",
    }
    assert mark not in ask(f"{address}/metrics").body.decode()


def test_the_metrics_say_what_is_served(address: str) -> None:
    text = ask(f"{address}/metrics").body.decode()
    assert f'method="discriminative",name="{MODEL}"' in text
    assert f'segment_golden_check{{name="{MODEL}",version="1"}} 1.0' in text
    assert "discern_build_info{" in text
    assert "process_resident_memory_bytes" in text


def test_spans_arrive_at_the_collector(address: str, collector: Collector) -> None:
    segment(address, traceparent=TRACEPARENT, x_request_id="traced")
    spans = collector.wait_for("POST /segment")
    assert spans.keys() >= {"POST /segment", *STAGES}
    told = {item.key: item.value.string_value for item in spans["POST /segment"].attributes}
    assert told.items() >= {"http.route": "/segment", "discern.outcome": "ok"}.items()
