"""Every rule, alert and panel against a real Prometheus that scrapes a real gateway and Triton."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.live import LiveGateway
from tests.monitoring.expressions import (
    DASHBOARDS,
    Expression,
    always_answered,
    dashboard_expressions,
    filled_in,
    read_json,
    recorded,
    rule_expressions,
)
from tests.monitoring.prometheus_server import Prometheus, running_prometheus
from tests.monitoring.stack import (
    TRACE,
    ask,
    gpu_exporter,
    lever_image,
    load,
    write_keys,
    write_models,
)
from tests.scenes import MODEL
from tests.triton_server.install import DONE
from tests.triton_server.server import LOOPBACK, TritonServer, running

pytestmark = [pytest.mark.slow, pytest.mark.triton]

TIME_BY_STAGE: Final = next(
    target["expr"]
    for path in DASHBOARDS
    for panel in read_json(path)["panels"]
    if panel["title"] == "Mean time of an answer by stage"
    for target in panel["targets"]
)


@dataclass(frozen=True, slots=True)
class Stack:
    """What runs, and how often the load met each status."""

    gateway: LiveGateway
    prometheus: Prometheus
    statuses: dict[str, int]


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    if not DONE.exists():
        if os.environ.get("CI"):
            pytest.fail("Triton is not installed, and CI must test it: make triton-install")
        pytest.skip("Triton is not installed: make triton-install")
    repository = tmp_path_factory.mktemp("models")
    write_models(repository)
    with running(TritonServer(repository)) as server:
        yield server


@pytest.fixture(scope="module")
def stack(
    prometheus: str, triton: TritonServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("prometheus")
    write_keys(folder / "keys")
    settings = {
        "triton_url": triton.address,
        "default_model": MODEL,
        "workers": "2",
        "max_in_flight": "4",
        "max_queue": "2",
        "api_keys_file": str(folder / "keys"),
    }
    with LiveGateway(settings) as gateway, gpu_exporter() as gpu:
        targets = {
            "gateway": [urlsplit(gateway.address).netloc],
            "triton": [f"{LOOPBACK}:{triton.metrics_port}", gpu],
        }
        with running_prometheus(prometheus, folder, targets) as server:
            server.wait_for_scrapes(2)
            statuses = load(gateway)
            server.wait_for_scrapes(3)
            yield Stack(gateway, server, statuses)


def test_the_load_met_answers_refusals_and_failures(stack: Stack) -> None:
    assert {"200", "404", "415", "422", "502", "503", "504"} <= stack.statuses.keys()


def test_every_target_is_scraped(stack: Stack) -> None:
    targets = stack.prometheus.get("/api/v1/targets")["activeTargets"]
    assert {target["health"] for target in targets} == {"up"}
    assert len(targets) == 4


def test_every_rule_is_evaluated_without_an_error(stack: Stack) -> None:
    groups = stack.prometheus.get("/api/v1/rules")["groups"]
    states = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
    assert len(groups) == 7
    assert set(states.values()) == {"ok"}, states


@pytest.mark.parametrize("record", sorted({rule["record"] for rule in recorded()}))
def test_every_recording_rule_records(stack: Stack, record: str) -> None:
    assert stack.prometheus.query(record)


@pytest.mark.parametrize("expression", rule_expressions(), ids=str)
def test_every_rule_has_all_it_compares(stack: Stack, expression: Expression) -> None:
    assert stack.prometheus.query(always_answered(expression.text))


@pytest.mark.parametrize("expression", dashboard_expressions(), ids=str)
def test_every_panel_has_something_to_show(stack: Stack, expression: Expression) -> None:
    assert stack.prometheus.query(filled_in(expression.text))


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_choice_of_a_dashboard_has_values(stack: Stack, path: Path) -> None:
    variables = read_json(path)["templating"]["list"]
    asked = {
        variable["name"]: variable["definition"].removeprefix("label_values(").removesuffix(")")
        for variable in variables
        if variable["type"] == "query"
    }
    found = {
        name: stack.prometheus.get(
            f"/api/v1/label/{text.split(', ')[1]}/values", **{"match[]": text.split(", ")[0]}
        )
        for name, text in asked.items()
    }
    assert {name for name, values in found.items() if not values} == {"namespace"}


def test_what_prometheus_counts_is_what_the_clients_saw(stack: Stack) -> None:
    answered = 'segment_requests_total{outcome="ok"}'
    assert stack.prometheus.query(f"sum({answered})") == [stack.statuses["200"]]
    refused = 'segment_admission_rejected_total{reason="overloaded"}'
    assert stack.prometheus.query(refused) == [stack.statuses["503"]]
    missed = "sum(segment_deadline_exceeded_total)"
    assert stack.prometheus.query(missed) == [stack.statuses["504"]]
    failed = 'sum(backend_request_duration_seconds_count{code="backend-failed"})'
    assert stack.prometheus.query(failed) == [stack.statuses["502"]]


def test_bytes_to_and_from_triton_are_counted(stack: Stack) -> None:
    assert stack.prometheus.query("min(backend_payload_bytes_total)")[0] > 10_000


def test_exemplars_lead_from_a_bucket_to_a_trace(stack: Stack) -> None:
    found = stack.prometheus.get(
        "/api/v1/query_exemplars",
        query="http_server_request_duration_seconds_bucket",
        start="0",
        end=str(stack.prometheus.query("vector(time())")[0] + 60),
    )
    traces = {sample["labels"]["trace_id"] for series in found for sample in series["exemplars"]}
    assert TRACE in traces


def test_a_slowed_stage_shows_in_the_panel_within_one_scrape(stack: Stack) -> None:
    slowest = f"topk(1, {filled_in(TIME_BY_STAGE).replace('[1m]', '[4s]')})"
    stack.prometheus.wait_for_scrapes(5)  # what came before has left the window
    before = stack.prometheus.query(slowest)
    began = time.monotonic()
    assert ask(stack.gateway, lever_image(25), "?model=slow").status == 200
    took_s = time.monotonic() - began
    stack.prometheus.wait_for_scrapes(1)
    (shown,) = stack.prometheus.get("/api/v1/query", query=slowest)["result"]
    assert shown["metric"]["stage"] == "inference"
    # Half of what the window of four seconds should show: its edges fall between scrapes.
    assert float(shown["value"][1]) > took_s / 8 > max(before, default=0.0)
