"""Rules and dashboards ask only for what is exported: a metric renamed in code fails here."""

from __future__ import annotations

import re
import runpy
from typing import Final

import pytest

from service.api.problems import PROBLEMS
from service.domain import STAGES
from service.telemetry.catalogue import catalogue
from tests.monitoring.expressions import (
    ROOT,
    Expression,
    alerts,
    dashboard_expressions,
    grouped_by,
    recorded,
    rule_expressions,
    selectors,
)

PROCESS: Final = dict.fromkeys(
    (
        "process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds",
        "process_max_fds", "process_start_time_seconds",
    ),
    (),
)  # fmt: skip
# https://github.com/triton-inference-server/server/blob/main/docs/user_guide/metrics.md
MODEL: Final = ("model", "version")
TRITON: Final[dict[str, tuple[str, ...]]] = {
    "nv_inference_request_success": MODEL,
    "nv_inference_request_failure": (*MODEL, "reason"),
    "nv_inference_count": MODEL,
    "nv_inference_exec_count": MODEL,
    "nv_inference_pending_request_count": MODEL,
    "nv_inference_queue_duration_us": MODEL,
    "nv_inference_compute_input_duration_us": MODEL,
    "nv_inference_compute_infer_duration_us": MODEL,
    "nv_inference_compute_output_duration_us": MODEL,
    "nv_gpu_utilization": ("gpu_uuid",),
    "nv_gpu_memory_used_bytes": ("gpu_uuid",),
    "nv_gpu_memory_total_bytes": ("gpu_uuid",),
    "nv_gpu_power_usage": ("gpu_uuid",),
    "nv_cpu_utilization": (),
    "nv_cpu_memory_used_bytes": (),
}
TARGET: Final = ("job", "instance", "namespace")
OWN: Final = {name: labels for entry in catalogue() for name, labels in entry.series().items()}
RECORDED: Final = {
    rule["record"]: (*rule.get("labels", {"slo": ""}), "stage", "slo") for rule in recorded()
}
EXPORTED: Final = {**OWN, **PROCESS, **TRITON, **RECORDED, "up": ()}
EXPRESSIONS: Final = [*rule_expressions(), *dashboard_expressions()]
ANNOTATION_QUERIES: Final = [
    Expression(f"{alert['alert']} annotation", query.replace("'", '"'))
    for alert in alerts()
    for text in alert["annotations"].values()
    for query in re.findall(r'query "([^"]*)"', text)
]


@pytest.mark.parametrize("expression", [*EXPRESSIONS, *ANNOTATION_QUERIES], ids=str)
def test_every_series_asked_for_is_exported_with_the_labels_it_is_matched_by(
    expression: Expression,
) -> None:
    asked = selectors(expression.text)
    assert asked or expression.text.startswith("vector(")
    assert {name for name, _ in asked} <= EXPORTED.keys()
    unknown = {
        (name, label) for name, labels in asked for label in labels - {*EXPORTED[name], *TARGET}
    }
    assert not unknown


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
def test_every_label_grouped_by_is_one_of_the_series(expression: Expression) -> None:
    known = {label for name, _ in selectors(expression.text) for label in EXPORTED[name]}
    assert grouped_by(expression.text) <= known | {*TARGET}


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
def test_the_values_that_labels_are_matched_with_occur(expression: Expression) -> None:
    codes = {problem.code for problem in PROBLEMS.values()}
    occurring: dict[str, set[str]] = {
        "stage": set(STAGES),
        "outcome": {*codes, "ok"},
        "reason": codes,
        "code": {*codes, "ok"},
        "state": {"busy", "idle"},
        "http_route": {"/segment"},
        "slo": {"availability", "latency"},
    }
    matched = re.findall(r'(\w+)(?:!?=)"([^"]*)"', expression.text)
    wrong = {
        (label, value) for label, value in matched if value not in occurring.get(label, {value})
    }
    assert not wrong


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
def test_every_bucket_asked_for_exists(expression: Expression) -> None:
    bounds = {
        f"{entry.name}_bucket": {str(bound) for bound in entry.buckets} for entry in catalogue()
    }
    asked = re.findall(r'(\w+_bucket)\{[^}]*le="([^"]+)"', expression.text)
    missing = {(name, bound) for name, bound in asked if bound not in bounds[name]}
    assert not missing


def test_every_metric_of_the_gateway_is_shown_somewhere() -> None:
    shown = {name for expression in EXPRESSIONS for name, _ in selectors(expression.text)}
    unseen = {entry.name for entry in catalogue() if not shown & entry.series().keys()}
    assert not unseen


def test_the_table_of_metrics_in_the_documentation_is_current() -> None:
    generate = runpy.run_path(str(ROOT / "docs/generate.py"))
    page = (ROOT / "docs/OPERATIONS.md").read_text(encoding="utf-8")
    table = generate["metrics_table"]()
    assert page == generate["render"](page, "metrics", table), "run make docs"


def test_every_alert_says_what_to_do_in_a_runbook_that_exists() -> None:
    page = (ROOT / "docs/OPERATIONS.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}
    links = {alert["annotations"]["runbook_url"] for alert in alerts()}
    assert {link.partition("#")[0] for link in links} == {"docs/OPERATIONS.md"}
    assert {link.partition("#")[2] for link in links} <= anchors


def test_every_alert_has_a_severity_and_a_summary() -> None:
    assert {alert["labels"]["severity"] for alert in alerts()} == {"page", "ticket"}
    assert all(alert["annotations"]["summary"] for alert in alerts())
    assert all(alert["for"] for alert in alerts())


def test_a_renamed_metric_or_label_would_be_noticed() -> None:
    asked = selectors('sum by (a) (rate(gone_total{old="x",le=~"y"}[5m])) / on (b) other > bool 2')
    assert asked == [("gone_total", {"old", "le"}), ("other", set())]
    assert grouped_by("sum by (a, b) (x) / on (c) group_left () y") == {"a", "b", "c"}
