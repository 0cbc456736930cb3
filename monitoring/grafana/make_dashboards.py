"""Writes the dashboards: what each panel asks and shows is here, Grafana's JSON around it is not.

``make dashboards`` runs it; a test fails when its result and the tree differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).resolve().parent / "dashboards"
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS: Final = 24
WINDOW: Final = "[$__rate_interval]"
OWN: Final = 'namespace=~"$namespace",instance=~"$instance"'
TRITON: Final = 'namespace=~"$namespace",instance=~"$instance",model=~"$model"'
SEGMENT: Final = f'http_route="/segment",{OWN}'
DURATION: Final = "http_server_request_duration_seconds"
STAGE: Final = "segment_stage_duration_seconds"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel: queries as ``legend: expression``, and how they are drawn."""

    title: str
    queries: dict[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    stacked: bool = False
    exemplars: bool = False
    text: str = ""
    thresholds: Sequence[tuple[str, float | None]] = ()


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """One dashboard: its variables beyond datasource and namespace, its rows of panels."""

    uid: str
    title: str
    text: str
    variables: dict[str, str] = field(default_factory=dict)
    rows: dict[str, list[Panel]] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


def quantiles(metric: str, selector: str, *which: float, by: str = "") -> dict[str, str]:
    """Return one query per quantile of a histogram."""
    legend = f"{{{{{by}}}}} " if by else ""
    labels = f"{by}, le" if by else "le"
    return {
        f"{legend}p{which_one * 100:g}": f"histogram_quantile({which_one}, sum by ({labels}) "
        f"(rate({metric}_bucket{{{selector}}}{WINDOW})))"
        for which_one in which
    }


def rate(metric: str, selector: str, *, by: str = "") -> str:
    """Return the rate of a counter, summed."""
    group = f" by ({by})" if by else ""
    return f"sum{group} (rate({metric}{{{selector}}}{WINDOW}))"


def mean(metric: str, selector: str) -> str:
    """Return the mean of a histogram."""
    return f"{rate(metric + '_sum', selector)} / {rate(metric + '_count', selector)}"


GREEN_RED: Final = (("green", None), ("red", 0.001))
ANSWERED: Final = f'{SEGMENT},http_response_status_code=~"2.."'
FAILED: Final = f'{SEGMENT},http_response_status_code=~"5.."'

SERVICE: Final = Dashboard(
    uid="discern-service",
    title="Discern: service",
    text="Is it slow, why, and what will break next: as users and as machines see it.",
    variables={"instance": "label_values(segment_inflight_limit, instance)"},
    annotations={
        "New release": "count by (version) (discern_build_info) "
        "unless count by (version) (discern_build_info offset 5m)",
        "New model": "count by (name, version, sha256) (segment_model_info) "
        "unless count by (name, version, sha256) (segment_model_info offset 5m)",
    },
    rows={
        "Now": [
            Panel(title="Requests", kind="stat", unit="reqps", width=4, height=4,
                  queries={"": rate(f"{DURATION}_count", SEGMENT)}),
            Panel(title="Failed (5xx)", kind="stat", unit="percentunit", width=4, height=4,
                  thresholds=GREEN_RED,
                  queries={"": f"{rate(DURATION + '_count', FAILED)} "
                               f"/ {rate(DURATION + '_count', SEGMENT)}"}),
            Panel(title="p50", kind="stat", unit="s", width=4, height=4,
                  queries=quantiles(DURATION, ANSWERED, 0.5)),
            Panel(title="p99", kind="stat", unit="s", width=4, height=4,
                  thresholds=(("green", None), ("orange", 0.5), ("red", 1.0)),
                  queries=quantiles(DURATION, ANSWERED, 0.99)),
            Panel(title="Slots in use", kind="stat", unit="percentunit", width=4, height=4,
                  thresholds=(("green", None), ("orange", 0.7), ("red", 0.95)),
                  queries={"": f"sum(segment_inflight_requests{{{OWN}}}) "
                               f"/ sum(segment_inflight_limit{{{OWN}}})"}),
            Panel(title="Gateways", kind="stat", width=4, height=4,
                  queries={"": f'sum(up{{job="gateway",{OWN}}})'}),
        ],
        "Rate, errors, duration": [
            Panel(title="Requests by outcome", unit="reqps", stacked=True,
                  text="The code of the problem document, or ok.",
                  queries={"{{outcome}}": rate("segment_requests_total", OWN, by="outcome")}),
            Panel(title="Answers by status", unit="reqps", stacked=True,
                  queries={"{{http_response_status_code}}": rate(
                      f"{DURATION}_count", SEGMENT, by="http_response_status_code")}),
            Panel(title="Time to answer", unit="s", exemplars=True,
                  text="Answers only (2xx). A dot is one request; it carries its trace id.",
                  queries=quantiles(DURATION, ANSWERED, 0.5, 0.95, 0.99)),
            Panel(title="Time to answer, all of it", kind="heatmap", unit="s", width=16,
                  queries={"{{le}}": f"sum by (le) (increase({DURATION}_bucket{{{ANSWERED}}}"
                                     f"{WINDOW}))"}),
            Panel(title="Requests by model", unit="reqps", stacked=True, width=4,
                  queries={"{{model}}": rate("segment_requests_total", OWN, by="model")}),
            Panel(title="Requests by client", unit="reqps", stacked=True, width=4,
                  text="By the name of their API key.",
                  queries={"{{client}}": rate("segment_client_requests_total", OWN,
                                              by="client")}),
        ],
        "Where the time goes": [
            Panel(title="Mean time of an answer by stage", unit="s", stacked=True, width=12,
                  text="Every moment of a request belongs to one stage; the stack is the whole.",
                  queries={"{{stage}}":
                           f"{rate(STAGE + '_sum', OWN, by='stage')} / on () group_left () "
                           f"{rate(DURATION + '_count', SEGMENT)}"}),
            Panel(title="p95 by stage", unit="s", width=12, exemplars=True,
                  queries=quantiles(STAGE, OWN, 0.95, by="stage")),
        ],
        "Saturation": [
            Panel(title="In flight", text="Beyond the limit requests wait.",
                  queries={"in flight": f"sum(segment_inflight_requests{{{OWN}}})",
                           "limit": f"sum(segment_inflight_limit{{{OWN}}})"}),
            Panel(title="Queue", text="Beyond the limit requests are refused.",
                  queries={"waiting": f"sum(segment_queue_depth{{{OWN}}})",
                           "limit": f"sum(segment_queue_limit{{{OWN}}})"}),
            Panel(title="Worker threads", stacked=True,
                  queries={"{{state}}": f"sum by (state) (segment_worker_threads{{{OWN}}})"}),
            Panel(title="Refused by reason", unit="reqps", stacked=True,
                  queries={"{{reason}}": rate("segment_admission_rejected_total", OWN,
                                              by="reason")}),
            Panel(title="Out of time by stage", unit="reqps", stacked=True,
                  queries={"{{stage}}": rate("segment_deadline_exceeded_total", OWN, by="stage")}),
            Panel(title="Connections being answered",
                  queries={"{{instance}}": f"http_server_active_requests{{{OWN}}}"}),
        ],
        "Backend": [
            Panel(title="Calls by code", unit="reqps", stacked=True, width=6,
                  queries={"{{backend}} {{code}}": rate("backend_request_duration_seconds_count",
                                                        OWN, by="backend, code")}),
            Panel(title="Time of a call", unit="s", width=6, exemplars=True,
                  queries=quantiles("backend_request_duration_seconds", OWN, 0.5, 0.95, 0.99)),
            Panel(title="Tensor bytes", unit="Bps", width=6,
                  queries={"{{direction}}": rate("backend_payload_bytes_total", OWN,
                                                 by="direction")}),
            Panel(title="Images in a call", width=6,
                  queries={"mean": mean("backend_batch_size", OWN)}),
        ],
        "Images": [
            Panel(title="Instances per image", width=12,
                  queries=quantiles("segment_instances_per_image", OWN, 0.5, 0.95, 0.99)),
            Panel(title="Pixels per image", width=12,
                  queries=quantiles("segment_image_pixels", OWN, 0.5, 0.95, 0.99)),
        ],
        "Process": [
            Panel(title="Memory", unit="bytes", queries={
                "{{instance}}": f'process_resident_memory_bytes{{job="gateway",{OWN}}}',
                "{{instance}} kept embeddings": f"segment_kept_embeddings_bytes{{{OWN}}}"}),
            Panel(title="Cores in use", queries={
                "{{instance}}": f'rate(process_cpu_seconds_total{{job="gateway",{OWN}}}{WINDOW})'}),
            Panel(title="File descriptors", queries={
                "{{instance}}": f'process_open_fds{{job="gateway",{OWN}}}',
                "{{instance}} limit": f'process_max_fds{{job="gateway",{OWN}}}'}),
        ],
        "Release": [
            Panel(title="Models", kind="table", width=12, queries={
                "": f"max by (name, version, method, sha256) (segment_model_info{{{OWN}}})"}),
            Panel(title="Golden check", kind="table", width=6,
                  text="1: the model answers its golden image as expected.", queries={
                "": f"min by (name, version) (segment_golden_check{{{OWN}}})"}),
            Panel(title="Builds", kind="table", width=6, queries={
                "": f"count by (version, python) (discern_build_info{{{OWN}}})"}),
        ],
    },
)  # fmt: skip


def per_request_s(part: str) -> str:
    """Return the seconds that a Triton request spends in one part of its way."""
    spent = rate(f"nv_inference_{part}_duration_us", TRITON, by="model")
    return f"{spent} / {rate('nv_inference_request_success', TRITON, by='model')} / 1e6"


GPU: Final = 'namespace=~"$namespace",instance=~"$instance"'

TRITON_SERVER: Final = Dashboard(
    uid="discern-triton",
    title="Discern: Triton",
    text="The inference servers: do requests wait for the GPU, are batches formed, does it fit.",
    variables={
        "instance": "label_values(nv_inference_request_success, instance)",
        "model": "label_values(nv_inference_request_success, model)",
    },
    rows={
        "Requests": [
            Panel(title="Answered", unit="reqps", queries={
                "{{model}}": rate("nv_inference_request_success", TRITON, by="model")}),
            Panel(title="Failed by reason", unit="reqps", queries={
                "{{model}} {{reason}}": rate("nv_inference_request_failure", TRITON,
                                             by="model, reason")}),
            Panel(title="Waiting for a model instance", queries={
                "{{model}}": f"sum by (model) (nv_inference_pending_request_count{{{TRITON}}})"}),
        ],
        "Where the time goes": [
            Panel(title="Time of a request", unit="s", stacked=True, width=16, queries={
                "{{model}} queue": per_request_s("queue"),
                "{{model}} input": per_request_s("compute_input"),
                "{{model}} network": per_request_s("compute_infer"),
                "{{model}} output": per_request_s("compute_output")}),
            Panel(title="Mean batch", text="Images in one execution of the network.", queries={
                "{{model}}": f"{rate('nv_inference_count', TRITON, by='model')} "
                             f"/ {rate('nv_inference_exec_count', TRITON, by='model')}"}),
        ],
        "GPU": [
            Panel(title="Busy", unit="percentunit", queries={
                "{{gpu_uuid}}": f"nv_gpu_utilization{{{GPU}}}"}),
            Panel(title="Memory", unit="bytes", queries={
                "{{gpu_uuid}}": f"nv_gpu_memory_used_bytes{{{GPU}}}",
                "{{gpu_uuid}} total": f"nv_gpu_memory_total_bytes{{{GPU}}}"}),
            Panel(title="Power", unit="watt", queries={
                "{{gpu_uuid}}": f"nv_gpu_power_usage{{{GPU}}}"}),
        ],
        "Host": [
            Panel(title="CPU busy", unit="percentunit", width=12, queries={
                "{{instance}}": f"nv_cpu_utilization{{{GPU}}}"}),
            Panel(title="Memory in use", unit="bytes", width=12, queries={
                "{{instance}}": f"nv_cpu_memory_used_bytes{{{GPU}}}"}),
        ],
    },
)  # fmt: skip

NS: Final = 'namespace=~"$namespace"'
LEFT: Final = (("red", None), ("orange", 0.25), ("green", 0.5))

SLO: Final = Dashboard(
    uid="discern-slo",
    title="Discern: objectives",
    text="Of the error budget of 30 days: what is left, how fast it goes. docs/OPERATIONS.md.",
    rows={
        "Budget": [
            Panel(title=f"{slo.capitalize()}: budget left", kind="gauge", unit="percentunit",
                  thresholds=LEFT, width=6, height=6,
                  queries={"": f'min(segment:slo_budget_left:ratio30d{{slo="{slo}",{NS}}})'})
            for slo in ("availability", "latency")
        ] + [
            Panel(title=f"{slo.capitalize()} over 30 days", kind="stat", unit="percentunit",
                  width=6, height=6,
                  queries={"": f'1 - max(segment:slo_errors:ratio_rate30d{{slo="{slo}",{NS}}})'})
            for slo in ("availability", "latency")
        ],
        "Burn": [
            Panel(title=f"{slo.capitalize()}: burn rate", width=12,
                  text="1 uses up the budget in exactly 30 days. Pages: 14.4 over 1h and 5m, "
                       "6 over 6h and 30m. Ticket: 1 over 3d and 6h.",
                  thresholds=(("green", None), ("orange", 6.0), ("red", 14.4)),
                  queries={window: f'max(segment:slo_burn:rate{window}{{slo="{slo}",{NS}}})'
                           for window in ("5m", "30m", "1h", "6h", "3d")})
            for slo in ("availability", "latency")
        ],
        "Events": [
            Panel(title="Requests that count", unit="reqps", queries={
                "{{slo}}": f"sum by (slo) (segment:slo_requests:rate5m{{{NS}}})"}),
            Panel(title="Gone wrong", unit="reqps", queries={
                "{{slo}}": f"sum by (slo) (segment:slo_bad:rate5m{{{NS}}})"}),
            Panel(title="Gone wrong in an hour",
                  text="Fewer than 5 raise no alert, whatever the burn rate.", queries={
                "{{slo}}": f"sum by (slo) (segment:slo_bad:increase1h{{{NS}}})"}),
            Panel(title="Slowest stages", unit="s", width=12, queries={
                "{{stage}} mean": f"max by (stage) (segment:stage_duration_seconds:mean5m{{{NS}}})",
                "{{stage}} p95": f"max by (stage) (segment:stage_duration_seconds:p95_5m{{{NS}}})",
            }),
            Panel(title="Alerts", kind="alertlist", width=12, queries={}),
        ],
    },
)  # fmt: skip

DASHBOARDS: Final = {"service": SERVICE, "triton": TRITON_SERVER, "slo": SLO}


def to_json(dashboard: Dashboard) -> dict[str, Any]:
    """Return a dashboard as Grafana reads it."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.text,
        "tags": ["discern"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "links": [
            {"type": "dashboards", "title": "Discern", "tags": ["discern"], "keepTime": True}
        ],
        "annotations": {
            "list": [
                {
                    "name": name, "datasource": DATASOURCE, "enable": True, "expr": expression,
                    "iconColor": "purple", "step": "60s", "titleFormat": name,
                    "textFormat": "{{name}} {{version}}",
                }
                for name, expression in dashboard.annotations.items()
            ]
        },
        "templating": {"list": list(_variables(dashboard.variables))},
        "panels": list(_panels(dashboard.rows)),
    }  # fmt: skip


def _variables(own: dict[str, str]) -> Iterator[dict[str, Any]]:
    yield {
        "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
        "current": {"text": "Prometheus", "value": "discern-prometheus"},
    }  # fmt: skip
    for name, query in {"namespace": "label_values(up, namespace)", **own}.items():
        yield {
            "name": name, "label": name.capitalize(), "type": "query", "datasource": DATASOURCE,
            "query": {"query": query, "refId": name}, "definition": query, "refresh": 2,
            "multi": True, "includeAll": True,
            "allValue": ".*",  # where a label is missing, as without Kubernetes, All still matches
            "current": {"text": "All", "value": "$__all"},
        }  # fmt: skip


def _panels(rows: dict[str, list[Panel]]) -> Iterator[dict[str, Any]]:
    number, top = 0, 0
    for title, panels in rows.items():
        number += 1
        position = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "panels": [],
               "gridPos": position}  # fmt: skip
        top += 1
        left, tallest = 0, 0
        for panel in panels:
            number += 1
            if left + panel.width > COLUMNS:
                left, top, tallest = 0, top + tallest, 0
            position = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            yield {"id": number, **_panel(panel), "gridPos": position}
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest


def _panel(panel: Panel) -> dict[str, Any]:
    steps = [{"color": color, "value": value} for color, value in panel.thresholds]
    defaults: dict[str, Any] = {"unit": panel.unit}
    if steps:
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    if panel.kind == "gauge":
        defaults |= {"min": 0, "max": 1}
    if panel.kind == "timeseries":
        defaults |= {"min": 0, "custom": {
            "fillOpacity": 25 if panel.stacked else 0, "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none"},
            "thresholdsStyle": {"mode": "dashed" if steps else "off"},
        }}  # fmt: skip
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel),
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": DATASOURCE,
                "expr": expression,
                "legendFormat": legend or "__auto",
                "exemplar": panel.exemplars,
                "instant": panel.kind in {"table", "stat", "gauge"},
                "range": panel.kind not in {"table", "stat", "gauge"},
                "format": {"table": "table", "heatmap": "heatmap"}.get(panel.kind, "time_series"),
            }
            for number, (legend, expression) in enumerate(panel.queries.items())
        ],
    }


def _options(panel: Panel) -> dict[str, Any]:
    latest = {"reduceOptions": {"calcs": ["lastNotNull"]}}
    return {
        "stat": {**latest, "colorMode": "value", "graphMode": "none"},
        "gauge": latest,
        "heatmap": {"calculate": False, "yAxis": {"unit": panel.unit}},
        "alertlist": {"alertInstanceLabelFilter": '{alertname=~".+"}', "viewMode": "list"},
    }.get(panel.kind, {"tooltip": {"mode": "multi", "sort": "desc"}})


def main() -> None:
    """Write every dashboard."""
    for name, dashboard in DASHBOARDS.items():
        text = json.dumps(to_json(dashboard), indent=1, ensure_ascii=False) + "\n"
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
