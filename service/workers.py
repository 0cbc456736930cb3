"""Who may work, and where: a gate that admits or refuses, and a bounded pool of threads.

The kernels release the GIL, so that threads use every core while nothing is copied or pickled.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, Final, ParamSpec, TypeVar

from service.domain import Deadline
from service.errors import DeadlineExceeded, OutOfMemory, Overloaded
from service.memory import was_short
from service.threads import compute_threads

P = ParamSpec("P")
T = TypeVar("T")

_SMOOTHING: Final = 0.1
"""Weight of the newest service time in the running mean that `Retry-After` is computed from."""

_JITTER: Final = 0.5
"""Part by which `Retry-After` is lengthened at random, lest all who were refused return at once."""

UNBOUNDED: Final = 2**63


class _Slot:
    """A place at work: free again when its request has left and no thread works for it any more."""

    def __init__(self, release: Callable[[], None]) -> None:
        self._holders = 1
        self._release = release

    def keep_for(self, call: Future[Any]) -> None:
        """Stay taken until a call that nobody waits for any more has really ended."""
        self._holders += 1
        loop = asyncio.get_running_loop()
        call.add_done_callback(lambda _: loop.call_soon_threadsafe(self.leave))

    def leave(self) -> None:
        self._holders -= 1
        if not self._holders:
            self._release()


_current_slot: ContextVar[_Slot | None] = ContextVar("current_slot", default=None)
"""The slot of the request that a task works for; tasks that it starts inherit it."""


class Gate:
    """Let a bounded number of requests in, a bounded number wait in order, and refuse the rest.

    Used from one event loop; refusing costs microseconds.

    Parameters
    ----------
    slots : int
        Requests worked on at once.
    waiting : int
        Requests that may wait for a slot.
    held_bytes : int
        Memory for the bodies of all requests together, whether they arrive, wait or are worked on.
    """

    def __init__(self, *, slots: int, waiting: int, held_bytes: int = UNBOUNDED) -> None:
        self.slots = slots
        self.waiting = waiting
        self.max_held_bytes = held_bytes
        self.held_bytes = 0
        self.in_flight = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._service_s = 0.0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def depth(self) -> int:
        """Requests waiting now."""
        return len(self._queue)

    @asynccontextmanager
    async def admitted(self, deadline: Deadline) -> AsyncIterator[None]:
        """Hold a slot for the length of a ``with`` block, and until its threads have ended.

        Raises
        ------
        Overloaded
            If no slot is free and no room to wait is left.
        DeadlineExceeded
            If no slot became free in time.
        """
        await self._acquire(deadline)
        slot = _Slot(self._release)
        token = _current_slot.set(slot)
        began = time.monotonic()
        try:
            yield
        finally:
            spent = time.monotonic() - began
            known = self._service_s or spent
            self._service_s = known + _SMOOTHING * (spent - known)
            _current_slot.reset(token)
            slot.leave()

    def check_room(self) -> None:
        """Refuse what could neither be worked on nor wait.

        Raises
        ------
        Overloaded
            If every slot and every place in the queue is taken.
        """
        if self.in_flight >= self.slots and self.depth >= self.waiting:
            raise self._refusal(
                f"{self.in_flight} requests are being worked on and {self.depth} wait, "
                "which is all this server takes"
            )

    @contextmanager
    def body(self, *, later: bool = False) -> Iterator[Callable[[int], None]]:
        """Account for a request's body until the ``with`` block ends.

        Parameters
        ----------
        later : bool
            Whether it is kept to be worked on later, so that it does not matter who waits now.

        Yields
        ------
        callable
            To be told the size of every piece that arrives, less than 0 for what is let go; raises
            `Overloaded` when all bodies together have no more room.

        Raises
        ------
        Overloaded
            If a further request would be refused anyway: better before its body is read.
        """
        if not later:
            self.check_room()
        own = 0

        def arrived(size: int) -> None:
            nonlocal own
            if self.held_bytes + size > self.max_held_bytes:
                raise self._refusal("the bodies of other requests fill the memory set aside")
            own += size
            self.held_bytes += size

        try:
            yield arrived
        finally:
            self.held_bytes -= own

    def retry_after_s(self) -> float:
        """Return when a slot should be free for one more request, at the measured service rate."""
        return (self.depth + 1) * self._service_s / self.slots

    async def idle(self) -> None:
        """Return once nothing is in flight or waiting."""
        await self._idle.wait()

    def _refusal(self, detail: str) -> Overloaded:
        spread = 1 + random.uniform(0, _JITTER)  # noqa: S311 - spreads load, guards nothing
        return Overloaded(detail, retry_after_s=max(1.0, self.retry_after_s()) * spread)

    async def _acquire(self, deadline: Deadline) -> None:
        self.check_room()
        if self.in_flight < self.slots:
            self.in_flight += 1
            self._idle.clear()
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout(deadline.left_s()):
                await turn
        except BaseException as error:
            self._give_up(turn)
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded(
                    f"no slot became free within {deadline.allowed_s:g} s", stage="queue"
                ) from error
            raise

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        if turn in self._queue:
            self._queue.remove(turn)
        elif turn.done() and not turn.cancelled():  # the slot was handed over in the same instant
            self._release()

    def _release(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)  # the slot changes hands, in_flight stays
                return
        self.in_flight -= 1
        if not self.in_flight:
            self._idle.set()


class Workers:
    """A bounded pool of threads for pure functions.

    Parameters
    ----------
    threads : int
        Functions that run at once.
    nice : int
        By how much they stand back behind the event loop.
    """

    def __init__(self, threads: int, *, nice: int = 0) -> None:
        self.threads = threads
        self.busy = 0
        self._counting = threading.Lock()
        self._pool = compute_threads(threads, "worker", nice=nice)

    async def run(
        self, deadline: Deadline, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `function` on a thread and return its result.

        Work that has not begun when the caller goes away, or when `deadline` passes, never begins.
        Work that has begun cannot be stopped: it keeps its request's slot until it ends.

        Raises
        ------
        TimeoutError
            If the result is not there in time.
        OutOfMemory
            If there is not enough memory for the work.
        """

        def work() -> T:
            if deadline.left_s() <= 0:
                raise TimeoutError
            self._count(1)
            try:
                return function(*args, **kwargs)
            finally:
                self._count(-1)

        call = self._pool.submit(work)
        try:
            async with asyncio.timeout(deadline.left_s()):
                return await asyncio.wrap_future(call)
        except Exception as error:
            if was_short(error):
                raise OutOfMemory from error
            raise
        finally:
            slot = _current_slot.get()
            if slot is not None and not call.done() and not call.cancel():
                slot.keep_for(call)

    def _count(self, change: int) -> None:
        with self._counting:
            self.busy += change

    def close(self) -> None:
        """Finish what runs, drop what waits."""
        self._pool.shutdown(cancel_futures=True)
