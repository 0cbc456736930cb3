"""The client for programs that await."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Self, TypeVar, Unpack

import httpx2

from discern.calls import (
    LATE,
    LOCAL,
    READY,
    Call,
    base_of,
    checked,
    found_in,
    headers_of,
    kept,
    read,
    segment_call,
)
from discern.images import Source
from discern.problems import DiscernClientError
from discern.results import Found, Settings
from discern.retries import Outcome, Retries, Sleep, converse

S = TypeVar("S", bound=Source)


class AsyncClient:
    """The same server for programs that await; see `Client` for every parameter and method."""

    def __init__(
        self,
        url: str = LOCAL,
        *,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        retries: Retries = Retries(),  # noqa: B008 - frozen
    ) -> None:
        self.timeout_s = timeout_s
        self.retries = retries
        self._http = httpx2.AsyncClient(base_url=base_of(url), headers=headers_of(api_key))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def segment(
        self, image: Source | Found, *, keep: bool = False, **settings: Unpack[Settings]
    ) -> Found:
        """Find the objects of an image, as `Client.segment` does."""
        call = await asyncio.to_thread(segment_call, image, settings, **kept(keep=keep))
        return found_in(await self._send(call))

    async def render(
        self, image: Source | Found, format: str, **settings: Unpack[Settings]  # noqa: A002 - as the API calls it
    ) -> bytes:  # fmt: skip
        """Return the answer's body in any format, as `Client.render` does."""
        call = await asyncio.to_thread(segment_call, image, settings, format=format)
        return (await self._send(call)).content

    async def segment_many(
        self,
        images: Iterable[S],
        *,
        at_once: int = 4,
        progress: Callable[[int], object] | None = None,
        **settings: Unpack[Settings],
    ) -> AsyncIterator[tuple[S, Found | DiscernClientError | OSError | ValueError]]:
        """Segment images side by side and yield each as it finishes, as `Client` does."""
        if at_once < 1:
            raise ValueError(f"at_once must be 1 or more, not {at_once}")
        todo = iter(images)
        running: set[asyncio.Task[tuple[S, Found | DiscernClientError | OSError | ValueError]]]
        running = set()
        done_count = 0
        try:
            while True:
                for image in itertools.islice(todo, at_once - len(running)):
                    running.add(asyncio.create_task(self._one(image, settings)))
                if not running:
                    return
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    done_count += 1
                    if progress:
                        progress(done_count)
                    yield task.result()
        finally:
            for task in running:
                task.cancel()

    async def _one(
        self, image: S, settings: Settings
    ) -> tuple[S, Found | DiscernClientError | OSError | ValueError]:
        try:
            return image, await self.segment(image, **settings)
        except (DiscernClientError, OSError, ValueError) as error:
            return image, error

    async def models(self) -> list[dict[str, Any]]:
        """Return what the server says of its models."""
        return read(await self._send(Call("GET", "models", {})), list)

    async def limits(self) -> dict[str, Any]:
        """Return what the server accepts."""
        return read(await self._send(Call("GET", "limits", {})), dict)

    async def ready(self) -> bool:
        """Return whether the server says that it is ready; False when it does not answer."""
        try:
            return (await self._attempt(READY.arguments(self.timeout_s))).is_success
        except httpx2.RequestError:
            return False

    async def _send(self, call: Call) -> httpx2.Response:
        talk = converse(self.retries, self.timeout_s)
        step = next(talk)
        while True:
            outcome: Outcome | None = None
            if isinstance(step, Sleep):
                await asyncio.sleep(step.seconds)
            else:
                try:
                    outcome = await self._attempt(call.arguments(step.timeout_s))
                except httpx2.RequestError as error:
                    outcome = error
            try:
                step = talk.send(outcome)
            except StopIteration as last:
                return checked(last.value)

    async def _attempt(self, arguments: dict[str, Any]) -> httpx2.Response:
        """Send once; httpx2 itself gives every piece of the answer the whole time anew."""
        try:
            async with asyncio.timeout(arguments["timeout"]):
                return await self._http.request(**arguments)
        except TimeoutError as error:
            raise httpx2.ReadTimeout(LATE) from error
