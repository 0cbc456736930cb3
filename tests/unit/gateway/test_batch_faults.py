"""A fault of ours in one image of a batch costs that image, not the others."""

from __future__ import annotations

import logging

import orjson
import pytest

from service.api.batch import _answers, _Batch, _line
from service.api.formats import JSON, Writer
from service.api.schemas import SegmentQuery
from service.request import Result
from tests.unit.gateway.calls import StartApp, png

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
