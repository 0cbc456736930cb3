"""Reads rules and dashboards: every expression, and the series and labels that it names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
RULES: Final = sorted((ROOT / "monitoring/prometheus/rules").glob("*.yml"))
SCENARIOS: Final = sorted((ROOT / "monitoring/prometheus/tests").glob("*.yml"))
DASHBOARDS: Final = sorted((ROOT / "monitoring/grafana/dashboards").glob("*.json"))

_STRING = re.compile(r"\"[^\"]*\"|'[^']*'")
_RANGE = re.compile(r"\[[^]]*]")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"\b([a-zA-Z_:][\w:]*)(?![\w:])(?!\s*\()(?:\{([^}]*)})?")
_WORDS: Final = {"and", "or", "unless", "bool", "offset", "by", "on", "Inf", "NaN"}


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression and where it stands."""

    where: str
    text: str

    def __str__(self) -> str:
        """Name it in a test's id."""
        return self.where


def read_json(path: Path) -> Any:
    """Read one dashboard."""
    return json.loads(path.read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    """Return every rule of every group."""
    files = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in RULES)
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """Return the rules that alert."""
    return [rule for rule in rules() if "alert" in rule]


def recorded() -> list[dict[str, Any]]:
    """Return the rules that record."""
    return [rule for rule in rules() if "record" in rule]


def rule_expressions() -> list[Expression]:
    """Return the expression of every rule."""
    return [Expression(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]


def dashboard_expressions() -> list[Expression]:
    """Return the expression of every panel and annotation."""
    return [found for path in DASHBOARDS for found in _of_dashboard(path.stem, read_json(path))]


def _of_dashboard(name: str, dashboard: dict[str, Any]) -> Iterator[Expression]:
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield Expression(f"{name}: {panel['title']} {target['refId']}", target["expr"])
    for annotation in dashboard["annotations"]["list"]:
        yield Expression(f"{name}: {annotation['name']}", annotation["expr"])


def filled_in(text: str) -> str:
    """Return an expression of a dashboard as Grafana sends it when nothing is selected."""
    return re.sub(r"\$(namespace|instance|model)\b", ".*", text).replace("$__rate_interval", "1m")


def always_answered(text: str) -> str:
    """Return an alert's expression so that it answers 0 instead of nothing while all is well."""
    text = re.sub(r"\babsent\((.*)\)", r"\1", text)
    return re.sub(r"\s(>=|<=|==|>|<)\s", r" \1 bool ", text)


def selectors(text: str) -> list[tuple[str, set[str]]]:
    """Return the name of every series in an expression and the labels it is matched by."""
    plain = _GROUPING.sub(" ", _RANGE.sub("", _STRING.sub("0", text)))
    return [
        (name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)))
        for name, matchers in _SELECTOR.findall(plain)
        if name not in _WORDS
    ]


def grouped_by(text: str) -> set[str]:
    """Return the labels that an expression groups or joins by."""
    found = _GROUPING.findall(_STRING.sub("", text))
    return {label.strip() for group in found for label in group.split(",") if label.strip()}
