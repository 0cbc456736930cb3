"""The dashboards are well formed, and are what their source says."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.expressions import DASHBOARDS, ROOT, read_json

GRAFANA = ROOT / "monitoring/grafana"
KINDS = {"row", "stat", "gauge", "timeseries", "heatmap", "table", "alertlist"}


@pytest.fixture(params=DASHBOARDS, ids=lambda path: path.stem)
def dashboard(request: pytest.FixtureRequest) -> Any:
    return read_json(request.param)


def panels(dashboard: Any) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
    at = panel["gridPos"]
    columns, rows = range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
    return {(x, y) for x in columns for y in rows}


def test_there_is_one_for_the_service_one_for_triton_and_one_for_the_objectives() -> None:
    assert [path.stem for path in DASHBOARDS] == ["service", "slo", "triton"]


def test_they_are_current(tmp_path: Path) -> None:
    source = runpy.run_path(str(GRAFANA / "make_dashboards.py"))
    made = {name: source["to_json"](entry) for name, entry in source["DASHBOARDS"].items()}
    assert made == {path.stem: read_json(path) for path in DASHBOARDS}, "run make dashboards"


def test_each_has_an_address_of_its_own_that_never_changes() -> None:
    uids = [read_json(path)["uid"] for path in DASHBOARDS]
    assert uids == ["discern-service", "discern-slo", "discern-triton"]


def test_panels_have_unique_ids(dashboard: Any) -> None:
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))


def test_panels_do_not_overlap_and_stay_within_the_grid(dashboard: Any) -> None:
    taken = [cell for panel in dashboard["panels"] for cell in cells(panel)]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24


def test_panels_are_of_kinds_that_grafana_ships(dashboard: Any) -> None:
    assert {panel["type"] for panel in dashboard["panels"]} <= KINDS


def test_every_query_goes_to_the_chosen_data_source(dashboard: Any) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    targets = [target for panel in panels(dashboard) for target in panel["targets"]]
    assert all(entry["datasource"] == chosen for entry in [*panels(dashboard), *targets])
    first = dashboard["templating"]["list"][0]
    assert (first["name"], first["type"], first["query"]) == (
        "datasource", "datasource", "prometheus",
    )  # fmt: skip


def test_every_panel_but_the_list_of_alerts_asks_something(dashboard: Any) -> None:
    silent = {panel["title"] for panel in panels(dashboard) if not panel["targets"]}
    assert silent <= {"Alerts"}


def test_variables_cover_what_the_queries_use(dashboard: Any) -> None:
    names = {f"${variable['name']}" for variable in dashboard["templating"]["list"]}
    used = {
        word
        for panel in panels(dashboard)
        for target in panel["targets"]
        for word in ("$namespace", "$instance", "$model")
        if word in target["expr"]
    }
    assert used <= names


def test_the_data_source_that_dashboards_begin_with_is_provisioned() -> None:
    path = GRAFANA / "provisioning/datasources/prometheus.yaml"
    (source,) = yaml.safe_load(path.read_text(encoding="utf-8"))["datasources"]
    defaults = {
        read_json(board)["templating"]["list"][0]["current"]["value"] for board in DASHBOARDS
    }
    assert {source["uid"]} == defaults
    assert source["isDefault"]
