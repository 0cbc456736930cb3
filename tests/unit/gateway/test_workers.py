"""The gate and the pool: who gets in, who waits, who is refused, what is dropped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from service.domain import Deadline
from service.errors import DeadlineExceeded, OutOfMemory, Overloaded
from service.workers import Gate, Workers


@pytest.fixture
def workers() -> Iterator[Workers]:
    pool = Workers(1)
    yield pool
    pool.close()


async def _hold(gate: Gate, release: asyncio.Event, order: list[str], name: str) -> None:
    async with gate.admitted(Deadline.after(10)):
        order.append(name)
        await release.wait()


async def test_requests_beyond_slots_and_queue_are_refused_with_a_time_to_come_back() -> None:
    gate = Gate(slots=1, waiting=1)
    release = asyncio.Event()
    order: list[str] = []
    async with asyncio.TaskGroup() as group:
        group.create_task(_hold(gate, release, order, "first"))
        group.create_task(_hold(gate, release, order, "second"))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as caught:
            async with gate.admitted(Deadline.after(10)):
                pytest.fail("a third request got in")
        assert (gate.in_flight, gate.depth) == (1, 1)
        release.set()
    assert caught.value.retry_after_s >= 0
    assert order == ["first", "second"]
    assert (gate.in_flight, gate.depth) == (0, 0)


async def test_waiting_requests_are_served_in_the_order_they_came() -> None:
    gate = Gate(slots=1, waiting=8)
    release = asyncio.Event()
    order: list[str] = []
    async with asyncio.TaskGroup() as group:
        for name in "abcde":
            group.create_task(_hold(gate, release, order, name))
        await asyncio.sleep(0)
        release.set()
    assert order == list("abcde")


async def test_a_wait_that_outlasts_the_deadline_names_the_queue_and_leaves_no_trace() -> None:
    gate = Gate(slots=1, waiting=1)
    async with gate.admitted(Deadline.after(10)):
        with pytest.raises(DeadlineExceeded) as caught:
            async with gate.admitted(Deadline.after(0.01)):
                pytest.fail("got in though the slot was taken")
        assert caught.value.stage == "queue"
        assert gate.depth == 0
    assert gate.in_flight == 0


async def test_a_cancelled_wait_leaves_the_queue_to_the_next() -> None:
    gate = Gate(slots=1, waiting=2)
    release = asyncio.Event()
    order: list[str] = []
    async with asyncio.TaskGroup() as group:
        group.create_task(_hold(gate, release, order, "first"))
        gone = asyncio.ensure_future(_hold(gate, release, order, "gone"))
        group.create_task(_hold(gate, release, order, "third"))
        await asyncio.sleep(0)
        gone.cancel()
        release.set()
    assert order == ["first", "third"]
    assert gate.in_flight == 0


async def test_a_slot_handed_over_to_a_request_cancelled_in_that_instant_is_not_lost() -> None:
    gate = Gate(slots=1, waiting=2)
    order: list[str] = []
    release = asyncio.Event()
    first = asyncio.ensure_future(_hold(gate, release, order, "first"))
    gone = asyncio.ensure_future(_hold(gate, asyncio.Event(), order, "gone"))
    await asyncio.sleep(0)
    release.set()
    await asyncio.wait({first})  # its slot now belongs to `gone`, which has not run yet
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    async with gate.admitted(Deadline.after(1)):
        assert gate.in_flight == 1
    assert gate.in_flight == 0


async def test_a_failing_request_gives_its_slot_back() -> None:
    gate = Gate(slots=1, waiting=0)
    with pytest.raises(ZeroDivisionError):
        async with gate.admitted(Deadline.after(1)):
            raise ZeroDivisionError
    assert gate.in_flight == 0


async def test_idle_returns_once_the_last_request_has_left() -> None:
    gate = Gate(slots=2, waiting=0)
    release = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(_hold(gate, release, [], "one"))
        await asyncio.sleep(0)
        idle = group.create_task(gate.idle())
        await asyncio.sleep(0)
        assert not idle.done()
        release.set()
    assert idle.done()


async def test_retry_after_follows_the_measured_service_time() -> None:
    gate = Gate(slots=2, waiting=4)
    async with gate.admitted(Deadline.after(1)):
        await asyncio.sleep(0.02)
    assert gate.retry_after_s() == pytest.approx(0.01, rel=0.9)


async def test_a_refusal_asks_to_come_back_no_sooner_than_that_and_not_all_at_once() -> None:
    gate = Gate(slots=1, waiting=0)
    async with gate.admitted(Deadline.after(1)):
        asked = {_refused_for_s(gate) for _ in range(20)}
    assert all(1.0 <= seconds <= 1.5 for seconds in asked)
    assert len(asked) > 1


def _refused_for_s(gate: Gate) -> float:
    with pytest.raises(Overloaded) as caught, gate.body():
        pytest.fail("took a body though there is no room")
    return caught.value.retry_after_s


def test_bodies_are_counted_while_they_are_held_and_refused_beyond_the_bound() -> None:
    gate = Gate(slots=1, waiting=1, held_bytes=100)
    with gate.body() as arrived:
        arrived(60)
        with gate.body() as other, pytest.raises(Overloaded):
            other(41)
        assert gate.held_bytes == 60
        arrived(40)
    assert gate.held_bytes == 0


async def test_a_slot_is_kept_until_the_abandoned_thread_has_ended(workers: Workers) -> None:
    gate = Gate(slots=1, waiting=0)
    began, release = threading.Event(), threading.Event()
    request = asyncio.ensure_future(_work(gate, workers, began, release))
    await asyncio.to_thread(began.wait, 5)
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    assert gate.in_flight == 1
    release.set()
    await asyncio.wait_for(gate.idle(), 5)
    assert (gate.in_flight, workers.busy) == (0, 0)


async def _work(
    gate: Gate, workers: Workers, began: threading.Event, release: threading.Event
) -> None:
    def work() -> None:
        began.set()
        release.wait(5)

    async with gate.admitted(Deadline.after(5)):
        await workers.run(Deadline.after(5), work)


def _exhaust_memory() -> None:
    np.empty(2**60, np.uint8)


def _exhaust_opencvs_memory() -> None:
    cv2.resize(np.zeros((1, 1), np.uint8), (2**30, 2**30))


@pytest.mark.parametrize("exhaust", [_exhaust_memory, _exhaust_opencvs_memory])
async def test_work_that_lacks_memory_says_so_and_leaves_the_thread_fit(
    workers: Workers, exhaust: Callable[[], None]
) -> None:
    with pytest.raises(OutOfMemory):
        await workers.run(Deadline.after(5), exhaust)
    assert await workers.run(Deadline.after(5), int, "7") == 7


async def test_a_fault_of_opencv_is_not_called_a_lack_of_memory(workers: Workers) -> None:
    with pytest.raises(cv2.error):
        await workers.run(Deadline.after(5), cv2.resize, np.zeros((1, 1), np.uint8), (0, 0))


async def test_a_function_runs_on_a_worker_thread_and_its_result_comes_back(
    workers: Workers,
) -> None:
    name = await workers.run(Deadline.after(5), lambda: threading.current_thread().name)
    assert name.startswith("worker")


async def test_an_error_of_the_function_reaches_the_caller(workers: Workers) -> None:
    with pytest.raises(ZeroDivisionError):
        await workers.run(Deadline.after(5), lambda: 1 // 0)
    assert workers.busy == 0


async def test_work_that_takes_too_long_is_not_waited_for(workers: Workers) -> None:
    release = threading.Event()
    with pytest.raises(TimeoutError):
        await workers.run(Deadline.after(0.01), release.wait, 5)
    release.set()


async def test_work_that_was_cancelled_before_it_began_never_begins(workers: Workers) -> None:
    release = threading.Event()
    began: list[str] = []
    busy = asyncio.ensure_future(workers.run(Deadline.after(5), release.wait, 5))
    waiting = asyncio.ensure_future(workers.run(Deadline.after(5), began.append, "x"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    release.set()
    await busy
    await workers.run(Deadline.after(5), began.append, "later")
    assert began == ["later"]
