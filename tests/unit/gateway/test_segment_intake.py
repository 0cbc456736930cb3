"""Bodies and who sends them: limits in bytes and time, hang-ups at every stage, deadlines."""

from __future__ import annotations

import asyncio
import base64
import io
import tracemalloc
import zipfile
from typing import Any

import pytest
from fastapi import FastAPI, Request

from service.api.intake import read_zip
from service.api.middleware import CLIENT_GONE
from service.api.schemas import SegmentQuery
from service.api.stacks import by_page
from service.errors import Overloaded, TooLarge
from service.imaging.stack import Stack
from service.settings import Settings
from service.workers import Gate
from tests.image_files import book, directories, leading_to, noise
from tests.unit.gateway.calls import Call, Connect, StartApp, png, until

SMALL = Settings(max_job_bytes=4 * 2**20)
SLOW = "model=slow"
SLOW_IMAGE = png(corner=200)
FORM = {"content-type": "multipart/form-data; boundary=cut"}
FORM_HEAD = b'--cut\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
JSON = {"content-type": "application/json"}


def gate_of(app: FastAPI) -> Gate:
    gate = app.state.gateway.gate
    assert isinstance(gate, Gate)
    return gate


async def until_in_flight(gate: Gate, count: int = 1) -> None:
    await until(lambda: gate.in_flight >= count)


def request_with(body: bytes) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": bytearray(body)}  # a copy, as from a socket

    return Request({"type": "http", "headers": []}, receive)


def form(body: bytes) -> bytes:
    return FORM_HEAD + body + b"\r\n--cut--\r\n"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("image/png", png()),
        ("IMAGE/PNG; q=1", png()),
        ("application/octet-stream", png()),
        (FORM["content-type"], form(png())),
        ("application/json", b'{"image": {"base64": "%s"}}' % base64.b64encode(png())),
    ],
)
async def test_an_image_is_taken_from_every_form_of_body(
    start_app: StartApp, connect: Connect, kind: str, body: bytes
) -> None:
    client = await connect(await start_app())
    answer = await client.post("/segment", content=body, headers={"content-type": kind})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content-type": "text/html"}, b"x", 415),
        ({"content-type": "image/png", "content-encoding": "gzip"}, b"x", 415),
        (FORM, b"--cut--\r\n", 400),
        (FORM, b"no form", 400),
        ({"content-type": "multipart/form-data"}, form(b"x"), 400),
        ({"content-type": "multipart/form-data; boundary="}, form(b"x"), 400),
        (FORM, FORM_HEAD + b"a\r\n" + FORM_HEAD + b"b\r\n--cut--\r\n", 400),
        (JSON, b"{", 400),
        (JSON, b"[]", 400),
        (JSON, b"3", 400),
        (JSON, b'{"image": 3}', 400),
        (JSON, b'{"image": {"base64": 3}}', 400),
        (JSON, b'{"image": {"base64": "%%%"}}', 400),
        (JSON, b'{"image": {"base64": ""}}', 400),
        (JSON, b"[" * 100_000, 400),
        (JSON, b'{"image": {"url": "http://127.0.0.1/"}}', 422),
    ],
)
async def test_a_body_that_is_not_what_it_says_is_a_problem_of_the_caller(
    start_app: StartApp, connect: Connect, headers: dict[str, str], body: bytes, status: int
) -> None:
    client = await connect(await start_app())
    answer = await client.post("/segment", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "headers", "body"),
    [
        *(
            (path, FORM, b'--cut\r\nContent-Disposition: form-data; name="model"\r\n\r\nslow\r\n')
            for path in ("/segment", "/segment/batch", "/jobs")
        ),
        ("/segment", JSON, b'{"model": "slow", "image": {"base64": "%s"}}'),
    ],
    ids=["form", "batch", "job", "json"],
)
async def test_a_parameter_that_nobody_would_read_is_refused(
    start_app: StartApp, connect: Connect, path: str, headers: dict[str, str], body: bytes
) -> None:
    client = await connect(await start_app())
    body = body + form(png()) if headers is FORM else body % base64.b64encode(png())
    answer = await client.post(path, content=body, headers=headers)
    assert (answer.status_code, answer.json()["parameter"]) == (422, "model")


@pytest.mark.parametrize("part", [b"[],", b'{"a":1},', b'"ab",', b"1,", b"[[[[]]]],"])
async def test_a_json_body_of_very_many_parts_is_refused_before_they_are_made(
    start_app: StartApp, connect: Connect, part: bytes
) -> None:
    client = await connect(await start_app())
    body = b'{"image": [' + part * (2**21 // len(part)) + b"0]}"
    tracemalloc.start()
    answer = await client.post("/segment", content=body, headers=JSON)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed-request")
    assert peak < 3 * len(body)  # the body twice, and nothing of what it says


async def test_a_json_body_of_one_long_text_has_few_parts(
    start_app: StartApp, connect: Connect
) -> None:
    client = await connect(await start_app())
    padded = png() + bytes(2**21)
    body = b'{"image": {"base64": "%s"}}' % base64.b64encode(padded)
    assert (await client.post("/segment", content=body, headers=JSON)).status_code == 200


@pytest.mark.parametrize("charset", ["undefined", "nonsense", "idna", "utf-16", "base64", "\xe9"])
@pytest.mark.parametrize("path", ["/segment", "/segment/batch"])
async def test_a_form_in_a_charset_that_is_none_is_no_fault_of_ours(
    start_app: StartApp, path: str, charset: str
) -> None:
    kind = f"{FORM['content-type']}; charset={charset}"
    call = Call(await start_app(), path, headers={"content-type": kind})
    call.send(form(png()))
    assert await call.answered() < 500


@pytest.mark.parametrize("headers", [{}, FORM, JSON], ids=["raw", "form", "json"])
async def test_a_body_beyond_the_limit_is_refused_before_it_has_all_arrived(
    start_app: StartApp, headers: dict[str, str]
) -> None:
    app = await start_app(max_body_bytes=4096)
    call = Call(app, headers=headers)
    call.send(FORM_HEAD if headers is FORM else b"{", more=True)
    call.send(b"x" * 5000, more=True)  # and no end
    assert await call.answered() == 413
    assert call.problem()["limit"] == 4096
    assert gate_of(app).held_bytes == 0


async def test_a_body_that_announces_too_much_is_refused_before_a_byte_is_read(
    start_app: StartApp,
) -> None:
    call = Call(await start_app(), headers={"content-length": "99999999999"})
    assert await call.answered() == 413


async def test_every_page_in_one_answer_is_refused_before_a_byte_is_read(
    start_app: StartApp,
) -> None:
    call = Call(await start_app(), query="page=all")
    assert await call.answered() == 422
    assert call.problem()["parameter"] == "page"
    assert "POST /segment/batch" in call.problem()["detail"]


async def test_pages_count_in_memory_as_what_they_are_cut_to() -> None:
    data = book(*(noise(64, 64, seed=page) for page in range(8)))
    query, files, gate = SegmentQuery(page="all"), [("movie.tif", data)], Gate(slots=1, waiting=0)
    with gate.body() as arrived:
        arrived(len(data))
        asked, pages = await by_page(query, files, Settings(), arrived)
        assert gate.held_bytes == sum(len(page) for _, page in pages) < len(data)
    assert (asked, gate.held_bytes) == (SegmentQuery(), 0)


async def test_pages_that_are_much_more_than_their_file_are_not_all_cut() -> None:
    data = book(noise(256, 256))
    first = data[directories(data)[0] :][: 2 + 12 * data[directories(data)[0]]]
    for number in range(9):  # the same pixels under another directory
        data = leading_to(data + first + bytes(4), number, len(data))
    assert len(Stack(data)) == 10
    settings, cut = Settings(max_job_bytes=200_000), list[int]()
    with pytest.raises(TooLarge, match="larger than 200000 bytes"):
        await by_page(SegmentQuery(page="all"), [("movie.tif", data)], settings, cut.append)
    assert len(cut) == 1 + 4


async def test_a_body_that_does_not_arrive_is_given_up(start_app: StartApp) -> None:
    app = await start_app(receive_s=0.05)
    call = Call(app)
    call.send(b"\x89PNG", more=True)
    assert await call.answered() == 408
    assert (gate_of(app).held_bytes, gate_of(app).in_flight) == (0, 0)


async def test_bodies_share_one_bound_of_memory_and_give_it_back(start_app: StartApp) -> None:
    app = await start_app(max_queue_bytes=2**20)
    first, second = Call(app), Call(app)
    first.send(b"x" * 900_000, more=True)
    await until(lambda: gate_of(app).held_bytes >= 900_000)
    second.send(b"x" * 200_000, more=True)
    assert await second.answered() == 503
    assert int(dict(second.sent[0]["headers"])[b"retry-after"]) >= 1
    first.hang_up()
    assert await first.answered() == CLIENT_GONE
    assert gate_of(app).held_bytes == 0


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
async def test_an_archive_counts_as_what_came_out_of_it(compression: int) -> None:
    size = 3 * 2**20  # more than half of the memory set aside
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("a.png", bytes(size))
    body = buffer.getvalue()
    gate = Gate(slots=1, waiting=0, held_bytes=4 * 2**20)
    tracemalloc.start()
    with gate.body() as arrived:
        images = await read_zip(request_with(body), SMALL, arrived)
        assert gate.held_bytes == size
        # The archive is really gone, once the thread that unpacked it has let go, too.
        await until(lambda: tracemalloc.get_traced_memory()[0] < 1.1 * size)
    tracemalloc.stop()
    assert [len(image) for _, image in images] == [size]
    assert gate.held_bytes == 0


async def test_an_archive_for_which_no_room_is_left_is_not_unpacked() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(3 * 2**20))
    gate = Gate(slots=1, waiting=0, held_bytes=4 * 2**20)
    with gate.body() as others, gate.body() as arrived:
        others(2 * 2**20)
        tracemalloc.start()
        with pytest.raises(Overloaded):
            await read_zip(request_with(buffer.getvalue()), SMALL, arrived)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2**20
    assert gate.held_bytes == 0


async def test_a_full_queue_refuses_before_the_body_is_read(start_app: StartApp) -> None:
    app = await start_app(max_in_flight=1, max_queue=0)
    busy = Call(app, query=SLOW)
    busy.send(SLOW_IMAGE)
    await until_in_flight(gate_of(app))
    refused = Call(app)  # sends nothing at all
    assert await refused.answered() == 503
    assert refused.problem()["code"] == "overloaded"
    busy.hang_up()
    await busy.task


async def test_a_hang_up_while_the_body_arrives_leaves_nothing_behind(start_app: StartApp) -> None:
    app = await start_app()
    call = Call(app)
    call.send(b"\x89PNG", more=True)
    call.hang_up()
    assert await call.answered() == CLIENT_GONE
    assert (gate_of(app).held_bytes, gate_of(app).in_flight) == (0, 0)


async def test_a_hang_up_while_waiting_leaves_the_queue(start_app: StartApp) -> None:
    app = await start_app(max_in_flight=1)
    busy, waiting = Call(app, query=SLOW), Call(app)
    busy.send(SLOW_IMAGE)
    await until_in_flight(gate_of(app))
    waiting.send(png())
    await until(lambda: gate_of(app).depth)
    waiting.hang_up()
    assert await waiting.answered() == CLIENT_GONE
    assert gate_of(app).depth == 0
    busy.hang_up()
    await busy.task


async def test_a_hang_up_during_inference_stops_the_network(start_app: StartApp) -> None:
    app = await start_app()
    call = Call(app, query=SLOW)
    call.send(SLOW_IMAGE)  # 20 s of work
    await until_in_flight(gate_of(app))
    call.hang_up()
    assert await call.answered() == CLIENT_GONE
    async with asyncio.timeout(5):
        await gate_of(app).idle()
        again = Call(app)
        again.send(png())
        assert await again.answered() == 200


@pytest.mark.parametrize(
    ("query", "headers"),
    [(f"{SLOW}&timeout_ms=1000", {}), (SLOW, {"X-Request-Timeout": "1"})],
    ids=["parameter", "header"],
)
async def test_an_answer_that_would_come_too_late_is_a_504_that_names_the_stage(
    start_app: StartApp, query: str, headers: dict[str, str]
) -> None:
    app = await start_app()
    await _warm(app)
    call = Call(app, query=query, headers=headers)
    call.send(SLOW_IMAGE)
    assert await call.answered() == 504
    assert call.problem()["stage"] == "inference"


async def test_the_shorter_of_two_timeouts_holds(start_app: StartApp) -> None:
    call = Call(
        await start_app(), query=f"{SLOW}&timeout_ms=60000", headers={"X-Request-Timeout": "0.1"}
    )
    call.send(SLOW_IMAGE)
    assert await call.answered() == 504


@pytest.mark.parametrize("value", ["0", "-1", "soon", "nan", "inf", "1e9", "400"])
async def test_a_timeout_that_is_none_or_too_long_is_refused(
    start_app: StartApp, value: str
) -> None:
    call = Call(await start_app(), headers={"X-Request-Timeout": value})
    assert await call.answered() == 422
    assert "X-Request-Timeout" in call.problem()["detail"]


async def test_probes_and_metrics_answer_while_every_place_is_taken(
    start_app: StartApp, connect: Connect
) -> None:
    app = await start_app(max_in_flight=1, max_queue=0)
    client = await connect(app)
    busy = Call(app, query=SLOW)
    busy.send(SLOW_IMAGE)
    await until_in_flight(gate_of(app))
    statuses = [(await client.get(path)).status_code for path in ("/livez", "/readyz", "/metrics")]
    assert statuses == [200, 200, 200]
    busy.hang_up()
    await busy.task


async def test_every_answer_carries_the_security_headers(
    start_app: StartApp, connect: Connect
) -> None:
    client = await connect(await start_app())
    for answer in [
        await client.get("/livez"),
        await client.post("/segment"),
        await client.get("/"),
    ]:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


async def test_no_other_origin_may_read_answers_unless_named(
    start_app: StartApp, connect: Connect
) -> None:
    ask = {"Origin": "https://lab.example", "Access-Control-Request-Method": "POST"}
    closed = await connect(await start_app())
    assert "access-control-allow-origin" not in (await closed.get("/livez", headers=ask)).headers
    opened = await connect(await start_app(cors_origins="https://lab.example"))
    granted = await opened.options("/segment", headers=ask)
    assert granted.headers["access-control-allow-origin"] == "https://lab.example"
    other = await opened.get("/livez", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(
    "header",
    [
        *("authorization", "x-api-key", "content-type", "x-request-timeout", "prefer"),
        *("idempotency-key", "x-request-id", "traceparent", "tracestate"),
    ],
)
async def test_a_page_of_a_named_origin_may_send_every_header_that_is_read(
    start_app: StartApp, connect: Connect, header: str
) -> None:
    client = await connect(await start_app(cors_origins="https://lab.example"))
    ask = {
        "Origin": "https://lab.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": header,
    }
    assert (await client.options("/jobs", headers=ask)).status_code == 200


async def test_a_page_of_a_named_origin_may_read_what_the_answer_tells(
    start_app: StartApp, connect: Connect
) -> None:
    client = await connect(await start_app(cors_origins="https://lab.example", quota="9/minute"))
    headers = {"Origin": "https://lab.example", "Content-Type": "image/png"}
    answer = await client.post("/segment?keep=true", content=png(), headers=headers)
    told = {
        name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")
    }
    assert {"embedding-id", "ratelimit", "ratelimit-policy", "server-timing"} <= set(answer.headers)
    assert {"embedding-id", "ratelimit", "ratelimit-policy", "server-timing"} <= told


async def _warm(app: FastAPI) -> None:
    call = Call(app, query=SLOW)
    call.send(png())
    assert await call.answered() == 200
