"""Every deliberate error has its problem type, and none leaks what is inside."""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from fastapi.responses import StreamingResponse

from service import errors
from service.api.problems import PROBLEMS
from service.telemetry.logs import JsonFormatter
from tests.unit.gateway.calls import Call, Connect, StartApp

ABSTRACT = {
    errors.DiscernError,
    errors.RequestError,
    errors.CapacityError,
    errors.BackendError,
}
NEVER_PER_REQUEST = {errors.ArtefactError, errors.SettingsError}


def _every_error() -> set[type[errors.DiscernError]]:
    return {
        member
        for _, member in inspect.getmembers(errors, inspect.isclass)
        if issubclass(member, errors.DiscernError)
    }


def test_the_table_names_every_error_that_can_reach_a_caller() -> None:
    assert set(PROBLEMS) == _every_error() - ABSTRACT - NEVER_PER_REQUEST


def test_the_tree_in_the_docstring_names_every_error() -> None:
    tree = errors.__doc__ or ""
    assert [error.__name__ for error in _every_error() if error.__name__ not in tree] == []


def test_a_fault_of_the_caller_is_a_4xx_and_a_fault_of_ours_is_not() -> None:
    theirs = {kind for kind in PROBLEMS if issubclass(kind, errors.RequestError)}
    assert {PROBLEMS[kind].status // 100 for kind in theirs} == {4}
    ours = set(PROBLEMS) - theirs - {errors.ClientGone}
    assert {PROBLEMS[kind].status // 100 for kind in ours} == {5}


def test_codes_are_distinct() -> None:
    codes = [problem.code for problem in PROBLEMS.values()]
    assert sorted(set(codes)) == sorted(codes)


async def _fails() -> None:
    raise RuntimeError("a secret")


async def _lacks_memory() -> None:
    raise MemoryError


async def _fails_midway() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"a"
        raise RuntimeError("a secret")

    return StreamingResponse(parts())


async def test_an_unknown_error_is_answered_with_every_header_and_logged_once(
    start_app: StartApp, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    app = await start_app(cors_origins="https://lab.example")
    app.add_api_route("/fails", _fails)
    client = await connect(app)
    headers = {"Origin": "https://lab.example", "X-Request-ID": "7"}
    answer = await client.get("/fails", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "7"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["access-control-allow-origin"] == "https://lab.example"
    assert caplog.text.count("unexpected error") == 1
    counted = app.state.gateway.metrics.request_duration.labels("GET", "/fails", "500").collect()
    assert [s.value for s in counted[0].samples if s.name.endswith("_count")] == [1]


@pytest.mark.parametrize(
    ("fault", "level"), [(_fails, "ERROR"), (_lacks_memory, "WARNING")], ids=["unknown", "known"]
)
async def test_the_cause_of_a_fault_is_logged_under_the_id_that_the_caller_has(
    start_app: StartApp,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    fault: Callable[[], Awaitable[None]],
    level: str,
) -> None:
    app = await start_app()
    app.add_api_route("/fails", fault)
    answer = await (await connect(app)).get("/fails")
    (logged,) = (record for record in caplog.records if record.exc_info)
    line = json.loads(JsonFormatter().format(logged))
    assert (logged.levelname, line["request_id"]) == (level, answer.json()["request_id"])


async def test_an_answer_that_has_begun_breaks_off(start_app: StartApp) -> None:
    app = await start_app()
    app.add_api_route("/fails", _fails_midway, methods=["POST"])
    call = Call(app, "/fails")
    with pytest.raises(RuntimeError):
        await call.task
    assert [message.get("body") for message in call.sent] == [None, b"a"]


async def test_memory_that_is_short_anywhere_is_not_called_a_fault(
    start_app: StartApp, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    app = await start_app()
    app.add_api_route("/lacks-memory", _lacks_memory)
    answer = await (await connect(app)).get("/lacks-memory")
    assert (answer.status_code, answer.json()["code"]) == (503, "out-of-memory")
    assert answer.headers["retry-after"] == "1"
    assert "MemoryError" in caplog.text
