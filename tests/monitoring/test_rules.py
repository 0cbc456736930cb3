"""What promtool says of the rules: they are valid, and fire when they should and only then."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.monitoring.expressions import ROOT, RULES, SCENARIOS, alerts


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_rules_are_valid(promtool: str) -> None:
    checked = run(promtool, "check", "rules", *map(str, RULES))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_configuration_is_valid_and_finds_the_rules(promtool: str) -> None:
    checked = run(promtool, "check", "config", str(ROOT / "monitoring/prometheus/prometheus.yml"))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(RULES)} rule files found" in checked.stdout


@pytest.mark.parametrize("scenarios", SCENARIOS, ids=lambda path: path.stem)
def test_alerts_fire_in_their_scenario_and_stay_quiet_in_the_others(
    promtool: str, scenarios: Path
) -> None:
    tested = run(promtool, "test", "rules", str(scenarios))
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_fires_in_some_scenario() -> None:
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in SCENARIOS]
    fired = {
        case["alertname"]
        for file in files
        for test in file["tests"]
        for case in test["alert_rule_test"]
        if case.get("exp_alerts")
    }
    assert fired == {alert["alert"] for alert in alerts()} - NEVER_TRIED


NEVER_TRIED = {"LatencyBurnsMedium", "LatencyBurnsSlow"}
"""The same expressions as those of availability, for the other objective; see the next test."""


def test_both_objectives_alert_by_the_same_expressions() -> None:
    expressions = {alert["alert"]: alert["expr"] for alert in alerts()}
    latency = {
        name.replace("Latency", "Availability"): text.replace('"latency"', '"availability"')
        for name, text in expressions.items()
        if name.startswith("Latency")
    }
    assert latency.items() <= expressions.items()
    assert len(latency) == 3
