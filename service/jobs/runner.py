"""Works jobs off, a few items at once, beside the requests that somebody waits for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from service.errors import BackendUnavailable, CapacityError, JobAbandoned, JobsUnavailable
from service.jobs.records import Item, ItemResult
from service.jobs.store import JobStore

P = ParamSpec("P")
T = TypeVar("T")

ATTEMPTS: Final = 3
"""An item that was being worked on when the process ended this often is given up."""

_LOOK_S: Final = 1.0
_EXPIRE_S: Final = 60.0
_LOG = logging.getLogger(__name__)

Perform = Callable[[Item], Awaitable[ItemResult]]
Excuse = Callable[[Item, Exception], ItemResult]


class JobRunner:
    """The store, and the tasks that empty it. The file is made when the first job comes.

    Parameters
    ----------
    path : Path
        The file of jobs.
    open_store : callable
        Opens it.
    perform, excuse : callable
        Make the answer for an item, and the problem document when that failed.
    runners : int
        Items worked on at once.
    resting : callable
        Whether nothing new should be begun.
    """

    def __init__(
        self,
        path: Path,
        open_store: Callable[[Path], JobStore],
        perform: Perform,
        excuse: Excuse,
        *,
        runners: int,
        resting: Callable[[], bool],
    ) -> None:
        self._path = path
        self._open_store = open_store
        self._perform = perform
        self._excuse = excuse
        self._runners = runners
        self._resting = resting
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jobs")
        self._store: JobStore | None = None
        self._opening = asyncio.Lock()
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._current: dict[tuple[str, int], asyncio.Task[ItemResult]] = {}

    async def start(self) -> None:
        """Go on with what an earlier process left."""
        if not self._path.exists():
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
        """Put back what is being worked on, close the file; safe to call twice."""
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
                self._store = store = await self.call(self._open_store, self._path)
                await self._recover(store)
                loops = [self._work(store) for _ in range(self._runners)]
                self._tasks = [asyncio.create_task(loop) for loop in (*loops, self._tidy(store))]
            return self._store

    async def _recover(self, store: JobStore) -> None:
        for item in await self.call(store.recover):
            if item.attempt < ATTEMPTS:
                await self.call(store.requeue, item)
            else:
                gone = JobAbandoned(f"the server ended {ATTEMPTS} times while working on this")
                await self.call(store.finish, item, self._excuse(item, gone))

    async def _work(self, store: JobStore) -> None:
        while True:
            try:
                item = None if self._resting() else await self.call(store.claim)
                if item is not None:
                    await self._finish(store, item)
                    continue
                self._news.clear()
                await asyncio.wait_for(self._news.wait(), _LOOK_S)
            except TimeoutError:
                continue
            except JobsUnavailable as error:  # a full disk, perhaps not for ever
                _LOG.warning("%s", error.detail, exc_info=error.__cause__)
                await asyncio.sleep(_LOOK_S)

    async def _finish(self, store: JobStore, item: Item) -> None:
        key = (item.job_id, item.number)
        task = self._current[key] = asyncio.ensure_future(self._perform(item))
        try:
            await asyncio.wait({task})
            result = task.result()
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.call(store.put_back, item)  # changes nothing when the job was cancelled
            own = asyncio.current_task()
            if own is not None and own.cancelling():
                raise
            return
        except (CapacityError, BackendUnavailable) as error:
            await self.call(store.put_back, item, delay_s=max(_LOOK_S, error.retry_after_s))
            return
        except Exception as error:  # noqa: BLE001 - whatever it was, the caller gets an answer
            result = self._excuse(item, error)
        finally:
            self._current.pop(key, None)
        await self.call(store.finish, item, result)

    async def _tidy(self, store: JobStore) -> None:
        while True:
            try:
                await self.call(store.expire)
            except JobsUnavailable as error:
                _LOG.warning("%s", error.detail, exc_info=error.__cause__)
            await asyncio.sleep(_EXPIRE_S)
