"""What labelling tools send is bounded like any other body: in bytes, in time, and at the end."""

from __future__ import annotations

import base64

import orjson
import pytest
from fastapi import FastAPI

from service.domain import Deadline
from service.workers import Gate
from tests.unit.gateway.calls import Call, StartApp, png, until

JSON = {"content-type": "application/json", "x-nuclio-function-name": "plain"}
IMAGE = base64.b64encode(png()).decode()
CONFIG = (
    '<View><Image name="i" value="$i"/><BrushLabels name="b" toName="i"><Label value="x"/>'
    "</BrushLabels></View>"
)
CVAT = ("/api/function_invocations", orjson.dumps({"image": IMAGE}))
TASKS = [{"data": {"i": f"data:image/png;base64,{IMAGE}"}}]
LABEL_STUDIO = (
    "/label-studio/predict",
    orjson.dumps({"tasks": TASKS, "label_config": CONFIG}),
)

both = pytest.mark.parametrize(("path", "body"), [CVAT, LABEL_STUDIO], ids=["cvat", "label-studio"])


async def opened(start_app: StartApp, **settings: object) -> tuple[FastAPI, Gate]:
    app = await start_app(adapters="cvat,label_studio", **settings)
    return app, app.state.gateway.gate


@both
async def test_a_body_that_does_not_arrive_is_given_up(
    start_app: StartApp, path: str, body: bytes
) -> None:
    app, gate = await opened(start_app, receive_s=0.05)
    call = Call(app, path, headers=JSON)
    call.send(body[:10], more=True)
    assert await call.answered() == 408
    assert gate.held_bytes == 0


@both
async def test_a_body_counts_until_its_answer_is_there(
    start_app: StartApp, path: str, body: bytes
) -> None:
    app, gate = await opened(start_app, max_in_flight=1)
    async with gate.admitted(Deadline.after(30)):
        call = Call(app, path, headers=JSON)
        call.send(body)
        await until(lambda: gate.depth)
        assert gate.held_bytes >= len(body)
    assert await call.answered() == 200
    assert gate.held_bytes == 0


@pytest.mark.parametrize("path", [CVAT[0], LABEL_STUDIO[0]])
async def test_a_server_that_ends_refuses_before_the_body_is_read(
    start_app: StartApp, path: str
) -> None:
    app, _ = await opened(start_app)
    app.state.gateway.lifecycle.refuse()
    call = Call(app, path, headers=JSON)  # sends nothing at all
    assert await call.answered() == 503
    assert call.problem()["code"] == "draining"


@both
async def test_very_many_parts_are_refused_but_for_numbers(
    start_app: StartApp, path: str, body: bytes
) -> None:
    app, _ = await opened(start_app)
    for more, status in ((b"[]," * 2**20, 400), (b"255," * 2**20, 200)):
        call = Call(app, path, headers=JSON)
        call.send(body[:-1] + b',"runs":[' + more + b"0]}")
        assert await call.answered() == status


async def test_a_labelling_interface_is_no_longer_than_any(start_app: StartApp) -> None:
    app, _ = await opened(start_app)
    call = Call(app, LABEL_STUDIO[0], headers=JSON)
    config = CONFIG.replace("</View>", "<View/>" * 50_000 + "</View>")
    call.send(orjson.dumps({"tasks": TASKS, "label_config": config}))
    assert await call.answered() == 400
