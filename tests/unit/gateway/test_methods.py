"""Methods beside GET and POST: HEAD where probes ask with it, and what `Allow` names."""

from __future__ import annotations

import pytest

from tests.unit.gateway.calls import Connect, StartApp


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/jobs/x", "GET, DELETE"),
        ("DELETE", "/livez", "GET, HEAD"),
        ("GET", "/segment", "POST"),
        ("PUT", "/web/main.js", "GET, HEAD"),
        ("POST", "/web/segment", "GET, HEAD"),
    ],
)
async def test_allow_names_every_method_of_a_path(
    start_app: StartApp, connect: Connect, method: str, path: str, allowed: str
) -> None:
    client = await connect(await start_app())
    answer = await client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("path", ["/", "/docs", "/livez", "/readyz", "/v2/health/ready"])
async def test_head_is_answered_as_get_is(start_app: StartApp, connect: Connect, path: str) -> None:
    client = await connect(await start_app())
    asked, headed = await client.get(path), await client.head(path)
    assert headed.status_code == asked.status_code == 200
    assert headed.headers["content-length"] == asked.headers["content-length"]


@pytest.mark.parametrize("path", ["/segment/", "/models/"])
async def test_a_slash_at_the_end_leads_nowhere(
    start_app: StartApp, connect: Connect, path: str
) -> None:
    client = await connect(await start_app())
    answer = await client.post(path)
    assert (answer.status_code, "location" in answer.headers) == (404, False)
