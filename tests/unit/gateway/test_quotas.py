"""Quotas: what one caller has left, and what happens when the store of counts is away."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from service.api.auth import make_key
from service.api.quotas import Quotas, parse_quota
from service.domain import Deadline
from service.errors import QuotaExceeded, SettingsError
from tests.redis_server.server import RedisServer
from tests.unit.gateway.calls import Connect, StartApp


async def test_without_a_quota_nothing_is_counted() -> None:
    assert await Quotas("").take("anyone") == {}


async def test_the_answer_tells_the_policy_and_what_is_left() -> None:
    headers = await Quotas("3/minute").take("a")
    assert headers["RateLimit-Policy"] == '"requests";q=3;w=60'
    assert headers["RateLimit"].startswith('"requests";r=2;t=')


async def test_the_request_beyond_the_quota_is_refused_with_a_time_to_come_back() -> None:
    quotas = Quotas("2/minute")
    await quotas.take("a")
    await quotas.take("a")
    with pytest.raises(QuotaExceeded) as caught:
        await quotas.take("a")
    assert 0 < caught.value.retry_after_s <= 60
    assert caught.value.headers["RateLimit"].startswith('"requests";r=0;')


async def test_callers_do_not_share_a_quota() -> None:
    quotas = Quotas("1/minute")
    await quotas.take("a")
    await quotas.take("b")


async def test_a_callers_own_quota_goes_before_the_general_one() -> None:
    quotas = Quotas("1/minute")
    assert (await quotas.take("a", "5/hour"))["RateLimit-Policy"] == '"requests";q=5;w=3600'


@pytest.mark.parametrize(
    "text", ["many", "5", "5/fortnight", "-1/minute x", "9/minute;1/second", "9/minute, 9/day"]
)
def test_what_is_no_quota_is_refused_at_start(text: str) -> None:
    with pytest.raises(SettingsError, match="100/minute"):
        parse_quota(text)


def test_a_store_that_is_none_is_refused_at_start() -> None:
    with pytest.raises(SettingsError, match="DISCERN_QUOTA_STORE"):
        Quotas("1/minute", "nothing://here")


async def test_gateways_that_share_a_store_count_together(redis_server: RedisServer) -> None:
    first, second = gateways = [Quotas("2/minute", redis_server.url) for _ in range(2)]
    await first.take("a")
    assert (await second.take("a"))["RateLimit"].startswith('"requests";r=0;')
    for quotas in gateways:
        with pytest.raises(QuotaExceeded):
            await quotas.take("a")
    await second.take("b")
    for quotas in gateways:
        await quotas.aclose()


async def test_a_store_that_is_away_lets_requests_pass_and_complains_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    quotas = Quotas("1/minute", "redis://127.0.0.1:9")
    with caplog.at_level(logging.WARNING):
        assert await quotas.take("a") == await quotas.take("a") == {}
    assert caplog.text.count("does not answer") == 1


async def test_a_used_up_quota_is_a_429_with_all_its_headers(
    start_app: StartApp, connect: Connect, tmp_path: Path
) -> None:
    key, line = make_key("one")
    keys = tmp_path / "keys"
    keys.write_text(f"{line} quota=1/hour\n")
    client = await connect(await start_app(api_keys_file=keys, quota="1000/second"))
    first = await client.post("/segment", headers={"X-API-Key": key})
    assert (first.status_code, first.headers["ratelimit"][:14]) == (400, '"requests";r=0')
    second = await client.post("/segment", headers={"X-API-Key": key})
    assert (second.status_code, second.json()["code"]) == (429, "quota-exceeded")
    assert int(second.headers["retry-after"]) == second.json()["retry_after"] > 0
    assert second.headers["ratelimit-policy"] == '"requests";q=1;w=3600'


async def test_what_a_full_server_refuses_counts_against_no_quota(
    start_app: StartApp, connect: Connect
) -> None:
    app = await start_app(quota="1/hour", max_in_flight=1, max_queue=0)
    client = await connect(app)
    async with app.state.gateway.gate.admitted(Deadline.after(30)):
        assert (await client.post("/segment?min_area=x")).status_code == 503
    answer = await client.post("/segment")
    assert (answer.status_code, answer.headers["ratelimit"][:14]) == (400, '"requests";r=0')
