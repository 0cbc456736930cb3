"""What a fault of ours in one image of a batch costs, and a caller who reads no further."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import orjson
import pytest

from service import together
from service.api.batch import _answers, _Batch, _line
from service.api.formats import JSON, Writer
from service.api.schemas import SegmentQuery
from service.domain import ImageLimits
from service.imaging.header import Header, read_header
from service.request import Result
from tests.unit.gateway.calls import Call, Connect, StartApp, png

SMALL, ODD = ("small.png", png()), ("odd.png", png(side_px=24))


def _render(result: Result) -> bytes:
    if result.image.width == 24:
        raise ZeroDivisionError("a secret")
    return b"[]"


@pytest.mark.parametrize("files", [(ODD, SMALL), (SMALL, ODD, SMALL)], ids=["first", "between"])
async def test_the_other_images_are_answered_and_the_fault_is_logged(
    start_app: StartApp, caplog: pytest.LogCaptureFixture, files: tuple[tuple[str, bytes], ...]
) -> None:
    app = await start_app()
    batch = _Batch(app.state.gateway, SegmentQuery(), None, "7", Writer(JSON, _render))
    with caplog.at_level(logging.ERROR):
        *lines, end = [orjson.loads(line) async for line in _answers(batch, files, _line)]
    problems = {line["name"]: line["problem"]["code"] for line in lines if "problem" in line}
    assert problems == {"odd.png": "internal-error"}
    assert [line["name"] for line in lines if "answer" in line] == ["small.png"] * (len(files) - 1)
    assert end == {"images": len(files), "failed": 1}
    assert b"secret" not in orjson.dumps(lines)
    assert "ZeroDivisionError" in caplog.text


def test_a_header_that_ends_its_reader_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(data: bytes, limits: ImageLimits) -> Header:
        if not data:
            raise KeyError(279)
        return read_header(data, limits)

    monkeypatch.setattr(together, "read_header", read)
    assert together.group_small([png(), png(), b"", png()], ImageLimits()) == [[0, 1], [2], [3]]


async def test_a_name_that_is_no_text_costs_no_answer(
    start_app: StartApp, connect: Connect
) -> None:
    client = await connect(await start_app())
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="+2AA-.png"\r\n\r\n'
    kind = "multipart/form-data; boundary=b; charset=utf-7"  # the name is half of a pair
    answer = await client.post(
        "/segment/batch",
        content=head + png() + b"\r\n--b--\r\n",
        headers={"Content-Type": kind},
    )
    line, end = map(orjson.loads, answer.content.splitlines())
    assert (line["name"], end) == ("?.png", {"images": 1, "failed": 0})


class Stalled(Call):
    """A caller who does not read what is sent after the head."""

    async def _note(self, message: Any) -> None:
        await super()._note(message)
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()


async def test_a_caller_who_reads_no_further_keeps_no_memory(start_app: StartApp) -> None:
    app = await start_app(receive_s=0.2)
    boundary = "b"
    part = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    body = part.encode() + png() + f"\r\n--{boundary}--\r\n".encode()
    call = Stalled(
        app, "/segment/batch", headers={"content-type": f"multipart/form-data; boundary={boundary}"}
    )
    call.send(body)
    async with asyncio.timeout(10):
        assert await call.answered() == 200
    assert app.state.gateway.gate.held_bytes == 0
