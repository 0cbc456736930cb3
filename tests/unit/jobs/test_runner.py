"""Working jobs off while the disk is full, and when the process ends again and again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from service.domain import Deadline
from service.errors import BackendUnavailable, JobsUnavailable
from service.jobs.factory import Opener
from service.jobs.records import Item, ItemResult, JobStatus, Order
from service.jobs.runner import ATTEMPTS, JobRunner, Perform
from service.jobs.sqlite_store import SqliteJobs
from service.workers import Workers
from tests.unit.gateway.calls import until

Start = Callable[[Perform], Awaitable[JobRunner]]


class Disk(SqliteJobs):
    """A store whose disk the test fills: what is read is read, what is written is refused."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, max_bytes=10_000, keep_s=60)
        self.full = False
        self.refused = 0

    def finish(self, item: Item, result: ItemResult) -> bool:
        self._check()
        return super().finish(item, result)

    def put_back(self, item: Item, *, delay_s: float = 0.0, tried: bool = False) -> None:
        self._check()
        super().put_back(item, delay_s=delay_s, tried=tried)

    def _check(self) -> None:
        if self.full:
            self.refused += 1
            raise JobsUnavailable("the disk is full", retry_after_s=1)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "jobs")


@pytest.fixture
async def start(disk: Disk) -> AsyncIterator[Start]:
    """Return a function that starts a runner over the disk; it is ended with the test."""
    async with AsyncExitStack() as stack:

        async def begin(perform: Perform) -> JobRunner:
            runner = JobRunner(
                Opener(lambda: disk, at_start=True, recover_s=60),
                perform,
                excuse,
                runners=1,
                resting=lambda: False,
                pause_s=0.01,
            )
            stack.push_async_callback(runner.aclose)
            await runner.start()
            return runner

        yield begin


async def perform(item: Item) -> ItemResult:
    return ItemResult(item.name, 200, "text/plain", b"done")


def excuse(item: Item, error: Exception) -> ItemResult:
    return ItemResult(item.name, 500, "text/plain", type(error).__name__.encode())


async def submit(runner: JobRunner) -> JobStatus:
    store = await runner.store()
    job = await runner.call(store.submit, Order("me", "{}", (("image", b"x"),), "d"))
    runner.wake()
    return job


async def ended(runner: JobRunner, job: JobStatus) -> ItemResult:
    store = await runner.store()
    async with asyncio.timeout(10):
        while (await runner.call(store.status, "me", job.id)).state in {"queued", "running"}:  # noqa: ASYNC110 - polls as a client does
            await asyncio.sleep(0.01)
    (result,) = await runner.call(store.results, "me", job.id)
    return result


async def test_an_outcome_is_kept_once_the_disk_has_room_again(start: Start, disk: Disk) -> None:
    runner = await start(perform)
    disk.full = True
    job = await submit(runner)
    await until(lambda: disk.refused >= 3)
    disk.full = False
    assert (await ended(runner, job)).body == b"done"


async def test_an_image_that_cannot_be_worked_on_now_waits_though_the_disk_is_full(
    start: Start, disk: Disk
) -> None:
    calls = 0

    async def away_once(item: Item) -> ItemResult:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise BackendUnavailable("away", retry_after_s=0)
        return await perform(item)

    runner = await start(away_once)
    disk.full = True
    job = await submit(runner)
    await until(lambda: disk.refused >= 3)
    disk.full = False
    assert (await ended(runner, job)).body == b"done"
    assert calls == 2


async def test_an_image_that_is_claimed_while_the_runner_is_closed_waits_again(
    start: Start, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    claiming, go_on = threading.Event(), threading.Event()
    claim = disk.claim

    def slow_claim() -> Item | None:
        item = claim()
        if item is not None:
            claiming.set()
            go_on.wait(10)
        return item

    monkeypatch.setattr(disk, "claim", slow_claim)
    put_back: list[Item] = []
    monkeypatch.setattr(disk, "put_back", put_back.append)
    runner = await start(perform)
    await submit(runner)
    await until(claiming.is_set)
    closing = asyncio.create_task(runner.aclose())
    await asyncio.sleep(0)
    go_on.set()
    await closing
    assert [item.name for item in put_back] == ["image"]


async def test_a_claim_that_fails_while_the_runner_is_closed_does_not_hold_it(
    start: Start, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    claiming, go_on = threading.Event(), threading.Event()

    def fail_late() -> Item | None:
        claiming.set()
        go_on.wait(10)
        raise ZeroDivisionError

    monkeypatch.setattr(disk, "claim", fail_late)
    runner = await start(perform)
    await until(claiming.is_set)
    closing = asyncio.create_task(runner.aclose())
    await asyncio.sleep(0)
    go_on.set()
    async with asyncio.timeout(10):
        await closing


async def test_an_error_that_nobody_foresaw_is_the_outcome(start: Start) -> None:
    async def fail(_: Item) -> ItemResult:
        raise ZeroDivisionError

    runner = await start(fail)
    assert (await ended(runner, await submit(runner))).body == b"ZeroDivisionError"


async def test_an_image_that_memory_never_suffices_for_is_given_up(start: Start) -> None:
    calls = 0

    async def run_out(_: Item) -> ItemResult:
        nonlocal calls
        calls += 1
        return await workers.run(Deadline.after(10), fill_memory)

    def fill_memory() -> ItemResult:
        raise MemoryError

    workers = Workers(1)
    runner = await start(run_out)
    assert (await ended(runner, await submit(runner))).body == b"OutOfMemory"
    assert calls == ATTEMPTS
    workers.close()


async def test_an_image_that_ends_the_process_again_and_again_is_given_up(
    tmp_path: Path, start: Start, disk: Disk
) -> None:
    job = disk.submit(Order("me", "{}", (("image", b"x"),), "d"))
    for attempt in range(ATTEMPTS):
        disk.claim()
        disk.close()
        disk.__init__(tmp_path / "jobs")  # type: ignore[misc]  # as the next process opens it
        for item in disk.recover() if attempt < ATTEMPTS - 1 else []:
            disk.put_back(item, tried=True)
    runner = await start(perform)
    assert (await ended(runner, job)).body == b"JobAbandoned"
