"""Every store of jobs: nothing accepted is lost, nothing is done twice, strangers see nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from service.errors import IdempotencyKeyReused, JobNotFound, JobsUnavailable
from service.jobs.records import Item, ItemResult, Order
from service.jobs.redis_store import RedisJobs
from service.jobs.sqlite_store import SqliteJobs
from service.jobs.store import JobStore
from tests.redis_server.server import RedisServer

DONE = ItemResult("image", 200, "application/json", b"{}")
BROKEN = ItemResult("image", 422, "application/problem+json", b"{}")


@dataclass
class Clock:
    now_s: float = 1e9

    def __call__(self) -> float:
        return self.now_s


def order(key: str | None = None, images: int = 1, digest: str = "d", size: int = 10) -> Order:
    return Order("me", "{}", tuple((str(n), b"x" * size) for n in range(images)), digest, key)


OpenStore = Callable[[], JobStore]
LEASE_S = 30.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "jobs.sqlite3"


@pytest.fixture(params=["sqlite", "redis"])
def open_store(request: pytest.FixtureRequest, path: Path, clock: Clock) -> OpenStore:
    """A function that opens the store, again after it was closed."""
    if request.param == "sqlite":
        return partial(SqliteJobs, path, max_bytes=10_000, keep_s=60, clock=clock, timer=clock)
    server = request.getfixturevalue("redis_server")
    return partial(RedisJobs, server.url, max_bytes=10_000, keep_s=60, lease_s=LEASE_S, clock=clock)


@pytest.fixture
def store(open_store: OpenStore) -> Iterator[JobStore]:
    opened = open_store()
    yield opened
    opened.close()


def claimed(store: JobStore) -> Item:
    item = store.claim()
    assert item is not None
    return item


def test_images_are_worked_on_in_the_order_they_came(store: JobStore) -> None:
    store.submit(order(images=2))
    store.submit(order(images=1))
    assert [claimed(store).number for _ in range(3)] == [0, 1, 0]
    assert store.claim() is None


def test_a_job_is_over_when_all_its_images_are_and_failed_only_when_all_failed(
    store: JobStore,
) -> None:
    job = store.submit(order(images=2))
    assert (job.state, job.total, job.finished) == ("queued", 2, 0)
    store.finish(claimed(store), BROKEN)
    assert store.status("me", job.id).state == "running"
    store.finish(claimed(store), DONE)
    over = store.status("me", job.id)
    assert (over.state, over.finished, over.failed) == ("succeeded", 2, 1)
    alone = store.submit(order())
    store.finish(claimed(store), BROKEN)
    assert store.status("me", alone.id).state == "failed"


def test_only_the_first_outcome_of_an_image_counts(store: JobStore) -> None:
    job = store.submit(order())
    item = claimed(store)
    assert store.finish(item, DONE)
    assert not store.finish(item, BROKEN)
    assert [result.status for result in store.results("me", job.id)] == [200]


def test_the_same_key_and_content_are_one_job(store: JobStore) -> None:
    first, second = store.submit(order("k")), store.submit(order("k"))
    assert first.id == second.id
    claimed(store)
    assert store.claim() is None


def test_orders_without_a_key_are_jobs_of_their_own(store: JobStore) -> None:
    assert store.submit(order()).id != store.submit(order()).id


def test_a_key_with_other_content_is_refused(store: JobStore) -> None:
    store.submit(order("k"))
    with pytest.raises(IdempotencyKeyReused):
        store.submit(order("k", digest="other"))


def test_a_job_is_seen_by_nobody_else(store: JobStore) -> None:
    job = store.submit(order())
    for ask in (store.status, store.results, store.cancel):
        with pytest.raises(JobNotFound):
            ask("somebody", job.id)


def test_a_cancelled_job_begins_nothing_further_and_takes_no_result(store: JobStore) -> None:
    job = store.submit(order(images=2))
    running = claimed(store)
    assert store.cancel("me", job.id).state == "cancelled"
    assert store.claim() is None
    assert not store.finish(running, DONE)
    assert store.results("me", job.id) == []


def test_cancelling_what_is_over_changes_nothing(store: JobStore) -> None:
    job = store.submit(order())
    store.finish(claimed(store), DONE)
    assert store.cancel("me", job.id).state == "succeeded"


def test_results_are_forgotten_after_their_time_and_not_before(
    store: JobStore, clock: Clock
) -> None:
    job, waiting = store.submit(order()), store.submit(order())
    store.finish(claimed(store), DONE)
    clock.now_s += 59
    assert store.expire() == 0
    clock.now_s += 1
    assert store.expire() == 1
    assert store.status("me", waiting.id).state == "queued"
    with pytest.raises(JobNotFound):
        store.status("me", job.id)


def test_a_clock_that_jumps_back_keeps_results_longer_and_loses_none(
    store: JobStore, clock: Clock
) -> None:
    job = store.submit(order())
    store.finish(claimed(store), DONE)
    clock.now_s -= 1e6
    assert store.expire() == 0
    assert store.status("me", job.id).state == "succeeded"


def test_an_image_put_back_waits_its_time_and_its_attempt_does_not_count(
    store: JobStore, clock: Clock
) -> None:
    store.submit(order())
    store.put_back(claimed(store), delay_s=5)
    assert store.claim() is None
    clock.now_s += 5
    assert claimed(store).attempt == 1


def test_a_full_store_refuses_and_has_room_again_once_images_are_gone(store: JobStore) -> None:
    job = store.submit(order(size=9_000))
    with pytest.raises(JobsUnavailable):
        store.submit(order(size=2_000))
    store.cancel("me", job.id)
    store.submit(order(size=2_000))


def test_everything_is_there_after_a_restart_and_what_was_running_is_known(
    open_store: OpenStore, clock: Clock
) -> None:
    before = open_store()
    job = before.submit(order(images=2))
    claimed(before)
    before.close()
    clock.now_s += LEASE_S
    after = open_store()
    (interrupted,) = after.recover()
    assert (interrupted.number, interrupted.attempt) == (0, 1)
    after.put_back(interrupted, tried=True)
    assert claimed(after).attempt == 2
    assert after.status("me", job.id).total == 2
    after.close()


def test_what_this_process_works_on_is_not_recovered(store: JobStore, clock: Clock) -> None:
    store.submit(order())
    store.recover()
    claimed(store)
    clock.now_s += 10 * LEASE_S
    assert store.recover() == []


class AnyHistory(RuleBasedStateMachine):
    """Whatever happens in whatever order: every image has one outcome, and none is lost."""

    def __init__(self, open_store: Callable[[Clock], JobStore]) -> None:
        super().__init__()
        self.clock = Clock()
        self.open_store = open_store
        self.store = open_store(self.clock)
        self.jobs: dict[str, int] = {}
        self.running: list[Item] = []
        self.outcomes: dict[tuple[str, int], int] = {}

    @initialize()
    def begin(self) -> None:
        self.submit(1)

    @rule(images=st.integers(1, 3))
    def submit(self, images: int) -> None:
        self.jobs[self.store.submit(order(images=images)).id] = images

    @rule()
    def claim(self) -> None:
        item = self.store.claim()
        self.running += [item] if item else []

    @precondition(lambda self: self.running)
    @rule(data=st.data(), result=st.sampled_from([DONE, BROKEN]))
    def finish(self, data: st.DataObject, result: ItemResult) -> None:
        item = data.draw(st.sampled_from(self.running))
        if self.store.finish(item, result):
            key = (item.job_id, item.number)
            self.outcomes[key] = self.outcomes.get(key, 0) + 1

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def put_back(self, data: st.DataObject) -> None:
        self.store.put_back(data.draw(st.sampled_from(self.running)))

    @rule()
    def crash(self) -> None:
        self.store.close()
        self.clock.now_s += LEASE_S
        self.store = self.open_store(self.clock)
        for item in self.store.recover():
            self.store.put_back(item, tried=True)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.store.cancel("me", data.draw(st.sampled_from(list(self.jobs))))

    @invariant()
    def nothing_is_lost_or_done_twice(self) -> None:
        assert all(count == 1 for count in self.outcomes.values())
        for job_id, images in self.jobs.items():
            status = self.store.status("me", job_id)
            own = sum(1 for key in self.outcomes if key[0] == job_id)
            assert (status.total, status.finished) == (images, own)

    def teardown(self) -> None:
        self.store.close()


STEPS = settings(max_examples=25, stateful_step_count=20, deadline=None)


def test_any_history_in_a_file(tmp_path: Path) -> None:
    folders = count()

    def machine() -> AnyHistory:
        path = tmp_path / str(next(folders)) / "jobs"
        return AnyHistory(lambda clock: SqliteJobs(path, max_bytes=10**9, keep_s=1e9, clock=clock))

    run_state_machine_as_test(machine, settings=STEPS)  # type: ignore[arg-type]  # any callable


def test_any_history_in_redis(redis_server: RedisServer) -> None:
    def open_store(clock: Clock) -> RedisJobs:
        return RedisJobs(
            redis_server.url, max_bytes=10**9, keep_s=1e9, lease_s=LEASE_S, clock=clock
        )

    def machine() -> AnyHistory:
        redis_server.empty()
        return AnyHistory(open_store)

    run_state_machine_as_test(machine, settings=STEPS)  # type: ignore[arg-type]  # any callable
