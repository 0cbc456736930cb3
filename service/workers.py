"""Who may work, and where: a gate that admits or refuses, and a bounded pool of threads.

The kernels release the GIL, so that threads use every core while nothing is copied or pickled.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

from service.domain import Deadline, Stage
from service.errors import DeadlineExceeded, Overloaded

P = ParamSpec("P")
T = TypeVar("T")

_SMOOTHING = 0.1
"""Weight of the newest service time in the running mean that `Retry-After` is computed from."""


class Gate:
    """Let a bounded number of requests in, a bounded number wait in order, and refuse the rest.

    Used from one event loop; refusing costs microseconds.

    Parameters
    ----------
    slots : int
        Requests worked on at once.
    waiting : int
        Requests that may wait for a slot.
    """

    def __init__(self, *, slots: int, waiting: int) -> None:
        self.slots = slots
        self.waiting = waiting
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
        """Hold a slot for the length of a ``with`` block.

        Raises
        ------
        Overloaded
            If no slot is free and no room to wait is left.
        DeadlineExceeded
            If no slot became free in time.
        """
        await self._acquire(deadline)
        began = time.monotonic()
        try:
            yield
        finally:
            spent = time.monotonic() - began
            known = self._service_s or spent
            self._service_s = known + _SMOOTHING * (spent - known)
            self._release()

    def retry_after_s(self) -> float:
        """Return when a slot should be free for one more request, at the measured service rate."""
        return (self.depth + 1) * self._service_s / self.slots

    async def idle(self) -> None:
        """Return once nothing is in flight or waiting."""
        await self._idle.wait()

    async def _acquire(self, deadline: Deadline) -> None:
        if self.in_flight < self.slots:
            self.in_flight += 1
            self._idle.clear()
            return
        if self.depth >= self.waiting:
            raise Overloaded(
                f"{self.in_flight} requests are being worked on and {self.depth} wait, "
                "which is all this server takes",
                retry_after_s=self.retry_after_s(),
            )
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
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.busy = 0
        self._counting = threading.Lock()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="worker")

    async def run(
        self, deadline: Deadline, stage: Stage, function: Callable[P, T], *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:  # fmt: skip
        """Run `function` on a thread and return its result.

        Work that has not begun when the caller goes away, or when `deadline` passes, never begins.

        Raises
        ------
        DeadlineExceeded
            If the result is not there in time; names `stage`.
        """

        def work() -> T:
            if deadline.left_s() <= 0:
                raise TimeoutError
            self._count(1)
            try:
                return function(*args, **kwargs)
            finally:
                self._count(-1)

        call = asyncio.get_running_loop().run_in_executor(self._pool, work)
        try:
            async with asyncio.timeout(deadline.left_s()):
                return await call
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"the answer was not there within {deadline.allowed_s:g} s", stage=stage
            ) from error

    def _count(self, change: int) -> None:
        with self._counting:
            self.busy += change

    def close(self) -> None:
        """Finish what runs, drop what waits."""
        self._pool.shutdown(cancel_futures=True)
