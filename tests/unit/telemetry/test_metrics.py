from __future__ import annotations

from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from service.api.problems import PROBLEMS
from service.domain import STAGES
from service.telemetry.catalogue import catalogue
from service.telemetry.metrics import REFUSALS, Metrics

UNBOUNDED = {"request_id", "trace_id", "path", "url", "image", "user"}


def exposed(metrics: Metrics) -> dict[tuple[str, ...], float]:
    text = generate_latest(metrics.registry).decode()  # type: ignore[no-untyped-call]  # bare
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]  # bare
        for sample in family.samples
    }


def test_names_follow_the_conventions_of_prometheus() -> None:
    entries = catalogue()
    assert all(entry.name.endswith("_total") == (entry.kind == "counter") for entry in entries)
    durations = [entry.name for entry in entries if "duration" in entry.name]
    assert all(name.endswith("_seconds") for name in durations)
    assert all(entry.text.endswith(".") for entry in entries)


def test_no_label_grows_with_the_traffic() -> None:
    assert not {label for entry in catalogue() for label in entry.labels} & UNBOUNDED


def test_refusals_are_outcomes_that_clients_can_get() -> None:
    assert set(REFUSALS) <= {problem.code for problem in PROBLEMS.values()}


def test_an_error_is_called_the_same_in_metrics_and_in_its_problem_document() -> None:
    named = {
        error.__name__: (problem.code, error.code.fget(error.__new__(error)))  # type: ignore[attr-defined]
        for error, problem in PROBLEMS.items()
    }
    assert {name for name, (told, counted) in named.items() if told != counted} == set()


def test_failures_are_visible_as_zero_before_the_first() -> None:
    values = exposed(Metrics())
    name = "http_server_request_duration_seconds_count"
    assert values[(name, "/segment", "503", "POST")] == 0
    assert [values[("segment_deadline_exceeded_total", stage)] for stage in STAGES] == [0] * 5
    assert [values[("segment_admission_rejected_total", why)] for why in REFUSALS] == [0] * 3


def test_two_gateways_in_one_process_share_no_series() -> None:
    first, second = Metrics(), Metrics()
    first.requests.labels("nuclei", "ok").inc()
    name = ("segment_requests_total", "nuclei", "ok")
    assert exposed(first)[name] == 1
    assert name not in exposed(second)
