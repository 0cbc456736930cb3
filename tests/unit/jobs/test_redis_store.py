"""Jobs that gateways share: one takes an image, and another when that one is gone."""

from __future__ import annotations

import logging
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import pytest
from redis import Redis
from redis.exceptions import TimeoutError as TimeoutOfRedis

from service.errors import JobsUnavailable
from service.jobs.records import ItemResult, Order
from service.jobs.redis_store import RedisJobs
from tests.redis_server.server import RedisServer, located

DONE = ItemResult("image", 200, "application/json", b"{}")
LATE = ItemResult("image", 200, "application/json", b"late")
LEASE_S = 30.0

Join = Callable[[], RedisJobs]


def order(images: int = 1, key: str | None = None) -> Order:
    return Order("me", "{}", tuple((str(n), b"x") for n in range(images)), "d", key)


class Clock:
    now_s = 1e9

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def join(redis_server: RedisServer, clock: Clock) -> Iterator[Join]:
    """A function that opens the store as one more gateway does."""
    with ExitStack() as opened:

        def open_store() -> RedisJobs:
            store = RedisJobs(
                redis_server.url, max_bytes=10_000, keep_s=60, lease_s=LEASE_S, clock=clock
            )
            opened.callback(store.close)
            return store

        yield open_store


def test_what_one_gateway_accepts_another_works_off(join: Join) -> None:
    first, second = join(), join()
    job = first.submit(order())
    item = second.claim()
    assert item is not None
    assert first.claim() is None
    second.finish(item, DONE)
    assert first.status("me", job.id).state == "succeeded"
    assert first.results("me", job.id)[0].body == DONE.body


def test_many_gateways_at_once_take_every_image_once(join: Join) -> None:
    for _ in range(10):
        join().submit(order(images=6))

    def work_off(store: RedisJobs) -> list[tuple[str, int]]:
        taken = []
        while (item := store.claim()) is not None:
            taken.append((item.job_id, item.number))
            assert store.finish(item, DONE)
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = Counter(chain(*pool.map(work_off, [join() for _ in range(4)])))
    assert len(taken) == 60
    assert set(taken.values()) == {1}


def test_one_key_given_to_several_gateways_at_once_is_one_job(join: Join) -> None:
    stores = [join() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        jobs = pool.map(lambda store: store.submit(order(key="k")), stores)
    assert len({job.id for job in jobs}) == 1


def test_a_gateway_that_gives_signs_of_life_keeps_its_images(join: Join, clock: Clock) -> None:
    working, other = join(), join()
    working.submit(order())
    assert working.claim() is not None
    for _ in range(10):
        clock.now_s += LEASE_S / 3
        working.recover()
        assert other.recover() == []


def test_the_images_of_a_silent_gateway_go_to_exactly_one_other(join: Join, clock: Clock) -> None:
    silent, others = join(), [join() for _ in range(4)]
    silent.submit(order(images=5))
    for _ in range(5):
        silent.claim()
    clock.now_s += LEASE_S
    with ThreadPoolExecutor(4) as pool:
        found = list(chain(*pool.map(RedisJobs.recover, others)))
    assert sorted(item.number for item in found) == [0, 1, 2, 3, 4]
    assert {item.attempt for item in found} == {1}


def test_a_gateway_that_comes_back_late_cannot_add_a_second_outcome(
    join: Join, clock: Clock
) -> None:
    stalled, other = join(), join()
    job = stalled.submit(order())
    item = stalled.claim()
    assert item is not None
    clock.now_s += LEASE_S
    (taken_over,) = other.recover()
    other.put_back(taken_over, tried=True)
    again = other.claim()
    assert again is not None
    assert (again.attempt, other.finish(again, DONE)) == (2, True)
    assert not stalled.finish(item, LATE)
    assert [result.body for result in stalled.results("me", job.id)] == [DONE.body]


def test_a_gateway_gives_no_signs_of_life_for_an_image_that_it_put_back(
    join: Join, clock: Clock
) -> None:
    living, gone = join(), join()
    living.submit(order())
    item = living.claim()
    assert item is not None
    living.put_back(item)
    assert gone.claim() is not None
    assert living.recover() == []
    clock.now_s += LEASE_S
    assert [left.number for left in living.recover()] == [0]


def test_a_gateway_gives_no_signs_of_life_for_an_image_that_it_finished_too_late(
    join: Join, clock: Clock
) -> None:
    late, gone = join(), join()
    late.submit(order())
    item = late.claim()
    assert item is not None
    clock.now_s += LEASE_S
    (taken_over,) = gone.recover()
    gone.put_back(taken_over, tried=True)
    late.finish(item, LATE)
    assert gone.claim() is not None
    assert late.recover() == []
    clock.now_s += LEASE_S
    assert [left.number for left in late.recover()] == [0]


def test_an_image_whose_claim_is_cut_off_is_recovered_by_whoever_claimed_it(
    join: Join, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = join()
    store.submit(order())

    def cut_off(*_: object) -> None:
        raise JobsUnavailable("the connection broke", retry_after_s=1)

    with monkeypatch.context() as broken:
        broken.setattr(store, "_item", cut_off)
        with pytest.raises(JobsUnavailable):
            store.claim()
    assert store.recover() == []
    clock.now_s += LEASE_S
    assert [left.number for left in store.recover()] == [0]


def test_a_job_that_expired_leaves_nothing_behind(
    join: Join, clock: Clock, redis_server: RedisServer
) -> None:
    store = join()
    store.submit(order(images=2, key="k"))
    for _ in range(2):
        item = store.claim()
        assert item is not None
        store.finish(item, DONE)
    clock.now_s += 60
    assert store.expire() == 1
    with Redis.from_url(redis_server.url) as redis:
        assert redis.keys() == [b"{discern:jobs}:sequence"]


def test_jobs_are_there_after_redis_was_killed_and_away_meanwhile(tmp_path: Path) -> None:
    with RedisServer(located(), tmp_path) as server:
        store = RedisJobs(server.url, max_bytes=10_000, keep_s=60, lease_s=LEASE_S)
        job = store.submit(order())
        server.kill()
        with pytest.raises(JobsUnavailable):
            store.status("me", job.id)
        with server:
            assert store.status("me", job.id).state == "queued"
        store.close()


def test_who_asks_soon_after_a_silence_of_redis_does_not_wait_for_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = SimpleNamespace(monotonic=lambda: 100.0)
    monkeypatch.setattr("service.jobs.redis_server.time", now)
    monkeypatch.setattr("service.jobs.redis_server._ANSWER_S", 0.5)
    with RedisServer(located(), tmp_path) as server:
        store = RedisJobs(server.url, max_bytes=10_000, keep_s=60, lease_s=LEASE_S)
        store.submit(order())
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)
        with pytest.raises(JobsUnavailable) as waited:
            store.submit(order())
        assert isinstance(waited.value.__cause__, TimeoutOfRedis)
        with pytest.raises(JobsUnavailable) as told:
            store.submit(order())
        assert told.value.__cause__ is None
        server.process.send_signal(signal.SIGCONT)
        now.monotonic = lambda: 105.0
        store.submit(order())
        store.close()


def test_a_redis_that_forgets_is_complained_about_once(
    join: Join, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    store = join()
    with Redis.from_url(redis_server.url) as redis, caplog.at_level(logging.WARNING):
        redis.config_set("appendonly", "no")
        redis.config_set("maxmemory-policy", "allkeys-lru")
        try:
            store.recover()
            store.recover()
        finally:
            redis.config_set("appendonly", "yes")
            redis.config_set("maxmemory-policy", "noeviction")
    assert caplog.text.count("appendonly") == 1
    assert caplog.text.count("noeviction") == 1
