"""Images by address: from named hosts only, bounded in bytes and time, never somewhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from service.api.fetch import Fetcher
from service.domain import Deadline
from service.errors import DeadlineExceeded, ImageNotFetched, TooLarge
from tests.unit.gateway.calls import Call, StartApp, until

ANSWERS = {
    b"/image": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\npixel",
    b"/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\npix\r\n2\r\nel\r\n0\r\n\r\n",
    b"/moved": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
    b"/large": b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + b"x" * 99,
    b"/short": b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx",
    b"/noise": b"\x00\x01\x02 no http\r\n\r\n",
    b"/silent": b"",
}


LABEL_CONFIG = '<View><Image name="i" value="$i"/><BrushLabels name="b" toName="i"/></View>'


@pytest.fixture
async def host() -> AsyncIterator[str]:
    """A host that answers with whatever the path asks for."""
    asked = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
        writer.write(ANSWERS[path.partition(b"?")[0]])
        if path == b"/silent":
            await asked.wait()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    asked.set()
    server.close()


def uncounted(_: int) -> None:
    """Do not count what arrives."""


def fetcher(host: str, *, private: bool = True) -> Fetcher:
    return Fetcher(f"images.example, {host}", max_bytes=50, private=private)


@pytest.mark.parametrize("path", ["/image", "/chunked", "/image?size=1"])
async def test_an_image_on_a_named_host_is_fetched(host: str, path: str) -> None:
    assert await fetcher(host)(host + path, Deadline.after(5), uncounted) == b"pixel"


async def test_what_is_fetched_counts_as_it_arrives(host: str) -> None:
    pieces: list[int] = []
    await fetcher(host)(f"{host}/chunked", Deadline.after(5), pieces.append)
    assert pieces == [3, 2]


@pytest.mark.parametrize("path", ["/segment", "/label-studio/predict"])
async def test_an_image_by_address_counts_until_its_answer_is_there(
    start_app: StartApp, host: str, path: str
) -> None:
    app = await start_app(
        adapters="label_studio", url_hosts=host, url_private=True, max_in_flight=1
    )
    gate = app.state.gateway.gate
    url = f"{host}/image"
    body = orjson.dumps(
        {"image": {"url": url}, "label_config": LABEL_CONFIG, "tasks": [{"data": {"i": url}}]}
    )
    async with gate.admitted(Deadline.after(30)):
        call = Call(app, path, headers={"content-type": "application/json"})
        call.send(body)
        await until(lambda: gate.depth)
        assert gate.held_bytes == len(body) + len(b"pixel")
    assert await call.answered() == 415
    assert gate.held_bytes == 0


@pytest.mark.parametrize("path", ["/moved", "/short", "/noise"])
async def test_an_answer_that_is_no_image_is_refused_and_no_redirect_followed(
    host: str, path: str
) -> None:
    with pytest.raises(ImageNotFetched):
        await fetcher(host)(host + path, Deadline.after(5), uncounted)


async def test_an_image_beyond_the_limit_is_refused(host: str) -> None:
    with pytest.raises(TooLarge):
        await fetcher(host)(f"{host}/large", Deadline.after(5), uncounted)


async def test_a_host_that_says_nothing_uses_up_the_deadline(host: str) -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        await fetcher(host)(f"{host}/silent", Deadline.after(0.2), uncounted)
    assert caught.value.stage == "fetch"


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example/x",
        "http://images.example/x",
        "https://images.example:8443/x",
        "https://images.example@127.0.0.1/",
        "https://user@images.example/",
        "https://images.example.evil.example/",
        "file:///etc/passwd",
        "https://images.example/\r\nHost: x",
        "https://images.example:port/",
        "https://[::1",
        "",
        "https://images.example/" + "x" * 3000,
    ],
)
async def test_everything_else_is_refused_without_being_asked(url: str) -> None:
    with pytest.raises(ImageNotFetched, match="from there"):
        await Fetcher("images.example", max_bytes=50)(url, Deadline.after(5), uncounted)


async def test_a_named_host_with_a_private_address_is_refused(host: str) -> None:
    with pytest.raises(ImageNotFetched, match="from there"):
        await fetcher(host, private=False)(f"{host}/image", Deadline.after(5), uncounted)
