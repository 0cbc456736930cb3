"""Works jobs off, a few items at once, beside the requests that somebody waits for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

from service.errors import (
    BackendUnavailable,
    CapacityError,
    JobAbandoned,
    JobsUnavailable,
    OutOfMemory,
)
from service.jobs.factory import Opener
from service.jobs.records import Item, ItemResult
from service.jobs.store import JobStore

P = ParamSpec("P")
T = TypeVar("T")

ATTEMPTS: Final = 3
"""An item is given up when the process ended, or memory did, this often while it was worked on."""

_EXPIRE_S: Final = 60.0
_COMPLAIN_S: Final = 60.0
_LOG = logging.getLogger(__name__)

Perform = Callable[[Item], Awaitable[ItemResult]]
Excuse = Callable[[Item, Exception], ItemResult]


class JobRunner:
    """The store, and the tasks that empty it.

    Parameters
    ----------
    opener : Opener
        Opens the store: at the start when others may have left something in it, else with the
        first job.
    perform, excuse : callable
        Make the answer for an item, and the problem document when that failed.
    runners : int
        Items worked on at once.
    resting : callable
        Whether nothing new should be begun.
    pause_s : float
        Between two looks for work that others accepted, and before what the store refused is tried
        again.
    """

    def __init__(
        self,
        opener: Opener,
        perform: Perform,
        excuse: Excuse,
        *,
        runners: int,
        resting: Callable[[], bool],
        pause_s: float = 1.0,
    ) -> None:
        self._opener = opener
        self._perform = perform
        self._excuse = excuse
        self._runners = runners
        self._resting = resting
        self._pause_s = pause_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jobs")
        self._store: JobStore | None = None
        self._opening = asyncio.Lock()
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._complained_s = -math.inf
        self._current: dict[tuple[str, int], asyncio.Task[ItemResult]] = {}

    async def start(self) -> None:
        """Go on with what was left, by an earlier process or by others."""
        if not self._opener.at_start:
            return
        try:
            await self._opened()
        except JobsUnavailable as error:
            _LOG.warning("jobs are off: %s", error.detail, exc_info=error.__cause__)

    async def call(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a method of the store on its thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: method(*args, **kwargs))

    async def store(self) -> JobStore:
        """Return the store, opened.

        Raises
        ------
        JobsUnavailable
            If it cannot be.
        """
        return self._store or await self._opened()

    def wake(self) -> None:
        """Say that there is a new job."""
        self._news.set()

    def stop(self, job_id: str) -> None:
        """Stop what is being done for a job that was cancelled."""
        for (running_id, _), task in self._current.items():
            if running_id == job_id:
                task.cancel()

    async def aclose(self) -> None:
        """Put back what is being worked on, close the store; safe to call twice."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._store is not None:
            await self.call(self._store.close)
            self._store = None
        self._thread.shutdown()

    async def _opened(self) -> JobStore:
        async with self._opening:
            if self._store is None:
                self._store = store = await self.call(self._opener.open)
                chores = (*[self._work] * self._runners, self._recover, self._expire)
                self._tasks = [asyncio.create_task(self._go_on(chore, store)) for chore in chores]
            return self._store

    async def _go_on(self, chore: Callable[[JobStore], Awaitable[None]], store: JobStore) -> None:
        """Do a chore again and again, also when the store is away for a while."""
        while True:
            try:
                await chore(store)
            except JobsUnavailable as error:
                self._complain(error)
                await asyncio.sleep(self._pause_s)
            except Exception:  # noqa: BLE001 - a chore that ended would leave jobs lying unseen
                _LOG.exception("a fault in working jobs off")
                await asyncio.sleep(self._pause_s)

    async def _work(self, store: JobStore) -> None:
        """Work on the next item, or wait for one."""
        self._news.clear()
        item = None if self._resting() else await self._claim(store)
        if item is not None:
            await self._finish(store, item)
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), self._pause_s)

    async def _claim(self, store: JobStore) -> Item | None:
        """Claim an item; put back what was claimed while this was being closed."""
        claim = asyncio.ensure_future(self.call(store.claim))
        try:
            return await asyncio.shield(claim)
        except asyncio.CancelledError:
            # The thread goes on. Where the store fails, `recover` sees to it: this must end.
            with contextlib.suppress(Exception):
                if item := await claim:
                    await self.call(store.put_back, item)
            raise

    async def _recover(self, store: JobStore) -> None:
        """Let wait again, or give up, what processes now gone were working on."""
        for item in await self.call(store.recover):
            if item.attempt < ATTEMPTS:
                await self._keep(store.put_back, item, tried=True)
            else:
                gone = JobAbandoned(f"the server ended {ATTEMPTS} times while working on this")
                await self._keep(store.finish, item, self._excuse(item, gone))
        await asyncio.sleep(self._opener.recover_s)

    async def _expire(self, store: JobStore) -> None:
        """Forget jobs whose time is over."""
        await self.call(store.expire)
        await asyncio.sleep(_EXPIRE_S)

    async def _finish(self, store: JobStore, item: Item) -> None:
        """Work on an item until it has an outcome, or is to wait again."""
        key = (item.job_id, item.number)
        task = self._current[key] = asyncio.ensure_future(self._perform(item))
        try:
            await asyncio.wait({task})
            result = task.result()
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            # Changes nothing when the job was cancelled; where it fails, `recover` sees to it.
            with contextlib.suppress(JobsUnavailable):
                await self.call(store.put_back, item)
            own = asyncio.current_task()
            if own is not None and own.cancelling():
                raise
            return
        except (CapacityError, BackendUnavailable) as error:
            # Memory may be short because of this very image: it is not put back for ever.
            tried = isinstance(error, OutOfMemory)
            if not tried or item.attempt < ATTEMPTS:
                delay_s = max(self._pause_s, error.retry_after_s)
                await self._keep(store.put_back, item, delay_s=delay_s, tried=tried)
                return
            result = self._excuse(item, error)
        except Exception as error:  # noqa: BLE001 - whatever it was, the caller gets an answer
            result = self._excuse(item, error)
        finally:
            self._current.pop(key, None)
        await self._keep(store.finish, item, result)

    async def _keep(self, method: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Write something down, when the disk is full for as long as it takes until it is not."""
        while True:
            try:
                await self.call(method, *args, **kwargs)
            except JobsUnavailable as error:
                self._complain(error)
                await asyncio.sleep(self._pause_s)
            else:
                return

    def _complain(self, error: JobsUnavailable) -> None:
        now_s = time.monotonic()
        if now_s - self._complained_s > _COMPLAIN_S:
            self._complained_s = now_s
            _LOG.warning("jobs wait: %s", error.detail, exc_info=error.__cause__)
