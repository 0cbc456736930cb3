"""The files of the pages: their policy, and what a browser that has them already gets."""

from __future__ import annotations

import pytest

from tests.unit.gateway.calls import Connect, StartApp


@pytest.mark.parametrize("path", ["/", "/docs", "/web/main.js", "/web/style.css"])
async def test_a_file_that_did_not_change_costs_a_304_that_keeps_its_policy(
    start_app: StartApp, connect: Connect, path: str
) -> None:
    client = await connect(await start_app())
    first = await client.get(path)
    again = await client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    for answer in (first, again):
        assert answer.headers["cache-control"] == "no-cache"
        assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert (await client.get(path, headers={"If-None-Match": '"other"'})).status_code == 200


async def test_a_file_that_is_not_there_is_a_problem(start_app: StartApp, connect: Connect) -> None:
    client = await connect(await start_app())
    answer = await client.get("/web/nothing.js")
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
