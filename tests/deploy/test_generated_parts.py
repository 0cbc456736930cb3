from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from release.generate import ROOT, RULE, SUMS, TRITON, model_sums, prometheus_rule, triton
from tests.deploy.manifests import PRODUCTION, named, needs_kubectl, of_kind, render

JOBS = {"gateway", "triton"}


def test_tritons_checksums_are_those_of_the_models() -> None:
    assert (ROOT / SUMS).read_text(encoding="utf-8") == model_sums(ROOT), "run make manifests"


def test_triton_is_named_for_the_models() -> None:
    expected = triton(model_sums(ROOT))
    assert (ROOT / TRITON).read_text(encoding="utf-8") == expected, "run make manifests"


def test_other_models_are_another_triton() -> None:
    names = {yaml.safe_load(triton(sums))["nameSuffix"] for sums in ("one", "two")}
    assert len(names) == 2


def test_the_prometheus_rule_is_made_from_the_rule_files() -> None:
    assert (ROOT / RULE).read_text(encoding="utf-8") == prometheus_rule(ROOT), "run make manifests"


def test_a_changed_model_changes_the_checksums(tmp_path: Path) -> None:
    model = tmp_path / "model_repository/nuclei/1/model.onnx"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"one")
    before = model_sums(tmp_path)
    model.write_bytes(b"two")
    assert before.split()[1] == "nuclei/1/model.onnx"
    assert model_sums(tmp_path) != before


@needs_kubectl
@pytest.mark.parametrize("overlay", PRODUCTION)
def test_every_dashboard_is_delivered_as_it_is(overlay: str) -> None:
    delivered = named(render(overlay), "ConfigMap", "dashboards")
    files = (ROOT / "monitoring/grafana/dashboards").glob("*.json")
    assert delivered["data"] == {path.name: path.read_text(encoding="utf-8") for path in files}
    assert delivered["metadata"]["labels"]["grafana_dashboard"] == "1"


@needs_kubectl
def test_a_scrape_has_the_same_job_name_on_kubernetes_and_in_compose() -> None:
    monitors = of_kind(render("triton-gpu"), "ServiceMonitor", "PodMonitor")
    on_kubernetes = {
        monitor["metadata"]["labels"][monitor["spec"]["jobLabel"]] for monitor in monitors
    }
    text = (ROOT / "monitoring/prometheus/prometheus.yml").read_text(encoding="utf-8")
    in_compose = {job["job_name"] for job in yaml.safe_load(text)["scrape_configs"]}
    assert on_kubernetes == JOBS == in_compose - {"prometheus"}
