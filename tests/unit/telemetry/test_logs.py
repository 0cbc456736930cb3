from __future__ import annotations

import json
import logging

import pytest

from service.telemetry.logs import HumanFormatter, JsonFormatter

FIELDS = {"request_id": "r1", "trace_id": "t1", "client": "tester", "total_ms": 12.5}


def record(message: str, *, error: bool = False) -> logging.LogRecord:
    made = logging.LogRecord("service.access", logging.INFO, "x.py", 1, message, None, None)
    made.fields = FIELDS
    made.exc_info = (ValueError, ValueError("broken"), None) if error else None
    return made


def test_json_has_one_object_a_line_with_all_fields() -> None:
    line = JsonFormatter().format(record("several\nlines"))
    assert "\n" not in line
    read = json.loads(line)
    assert read.items() >= FIELDS.items()
    assert (read["message"], read["level"]) == ("several\nlines", "info")


def test_json_keeps_the_traceback_within_the_line() -> None:
    line = JsonFormatter().format(record("failed", error=True))
    assert "\n" not in line
    assert "ValueError: broken" in json.loads(line)["exception"]


def test_people_get_the_fields_as_text() -> None:
    line = HumanFormatter().format(record("request"))
    assert line.endswith("INFO    request request_id=r1 trace_id=t1 client=tester total_ms=12.5")


def test_people_get_the_fields_before_a_traceback() -> None:
    first, *rest = HumanFormatter().format(record("failed", error=True)).splitlines()
    assert first.endswith("failed request_id=r1 trace_id=t1 client=tester total_ms=12.5")
    assert rest[-1] == "ValueError: broken"


@pytest.mark.parametrize("value", [object(), {1, 2}, ValueError("x")])
def test_what_json_cannot_hold_is_written_as_text(value: object) -> None:
    made = record("odd")
    made.fields = {"value": value}
    assert json.loads(JsonFormatter().format(made))["value"] == str(value)
