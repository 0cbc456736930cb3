"""Names in Redis."""

from __future__ import annotations

from service.jobs.redis_keys import idempotency_key


def test_keys_of_two_clients_never_meet() -> None:
    assert idempotency_key("fe80::1", "2:foo") != idempotency_key("fe80::1:2", "foo")
