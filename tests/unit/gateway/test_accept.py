"""The form of an answer, by what a caller accepts."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.api.accept import weight_of
from service.api.formats import choose_format
from service.api.schemas import Format
from service.errors import NotAcceptable
from tests.unit.gateway.calls import Connect, StartApp, png


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", Format.RLE),
        (" , ", Format.RLE),
        ("*/*", Format.RLE),
        ("image/png, application/json", Format.RLE),
        ("image/png, application/json;q=0.1", Format.LABEL_PNG),
        ("application/json;q=0, image/png", Format.LABEL_PNG),
        ("application/json; Q=0.000, */*; q=.2", Format.LABEL_PNG),
        ("IMAGE/*;q=0.9, */*;q=0.8", Format.LABEL_PNG),
        ("*/*;q=0, application/*;q=0.1", Format.RLE),
        ("image/png;level=1;q=0.5, application/json;q=0.4", Format.LABEL_PNG),
    ],
)
def test_the_best_weight_wins_and_json_among_equals(accept: str, chosen: Format) -> None:
    assert choose_format(None, accept) == chosen


@pytest.mark.parametrize("accept", ["application/json;q=0", "text/html", "*/*;q=0", "*"])
def test_what_is_refused_is_not_sent(accept: str) -> None:
    with pytest.raises(NotAcceptable):
        choose_format(Format.RLE, accept)


@pytest.mark.parametrize("q", ["", "nan", "-1", "2", "high", "inf", "1e999", "0.5.5"])
def test_a_weight_that_is_none_counts_as_not_said(q: str) -> None:
    assert weight_of("image/png", f"image/png;q={q}") == 1


async def test_every_line_of_a_header_counts(
    start_app: StartApp, connect: Connect, tmp_path: Path
) -> None:
    client = await connect(await start_app(jobs_file=tmp_path / "jobs"))
    sent = [("Content-Type", "image/png"), ("Accept", "text/html"), ("Accept", "image/png")]
    answer = await client.post("/segment", content=png(), headers=sent)
    assert answer.headers["content-type"] == "image/png"
    sent = [("Content-Type", "image/png"), ("Prefer", "wait=1"), ("Prefer", "respond-async")]
    assert (await client.post("/segment", content=png(), headers=sent)).status_code == 202


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "application/x-ndjson"),
        ("*/*", "application/x-ndjson"),
        ("Text/Event-Stream", "text/event-stream"),
        ("text/event-stream, application/json", "text/event-stream"),
        ("text/event-stream, */*;q=0.9", "text/event-stream"),
        ("text/event-stream, */*", "application/x-ndjson"),
        ("text/event-stream;q=0", "application/x-ndjson"),
        ("application/x-ndjson, text/event-stream;q=0", "application/x-ndjson"),
    ],
)
async def test_a_batch_streams_what_is_most_welcome(
    start_app: StartApp, connect: Connect, accept: str, kind: str
) -> None:
    client = await connect(await start_app())
    files = [("image", ("a.png", png()))]
    answer = await client.post("/segment/batch", files=files, headers={"Accept": accept})
    assert answer.headers["content-type"].startswith(kind)
