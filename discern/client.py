"""A Discern server from Python: `Client`, and `AsyncClient` with the same methods to await.

Examples
--------
>>> from discern.client import Client
>>> with Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
...     found = client.segment("cells.png", min_score=0.5)
...     print(len(found.instances), found.labels.shape)
"""

from __future__ import annotations

import contextvars
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Self, TypeVar, Unpack

import httpx2

from discern.async_client import AsyncClient
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
from discern.problems import DiscernClientError, NoAnswer, ServerProblem
from discern.results import Found, Instance, Settings
from discern.retries import Outcome, Retries, Sleep, converse

__all__ = [
    "AsyncClient",
    "Client",
    "DiscernClientError",
    "Found",
    "Instance",
    "NoAnswer",
    "Retries",
    "ServerProblem",
]

S = TypeVar("S", bound=Source)


class Client:
    """A server to call. Connections are kept and used again; safe to share between threads.

    Parameters
    ----------
    url : str
        The server's address.
    api_key : str, optional
        Sent as a bearer token.
    timeout_s : float
        For one call, with all its attempts and pauses; the server is told what is left.
    retries : Retries
        How patient to be with a server that is busy, starting, or cut off.

    Raises
    ------
    NoAnswer
        If the URL or the API key is none.
    """

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
        self._http = httpx2.Client(base_url=base_of(url), headers=headers_of(api_key))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def segment(
        self, image: Source | Found, *, keep: bool = False, **settings: Unpack[Settings]
    ) -> Found:
        """Find the objects of an image.

        Parameters
        ----------
        image : path, bytes, array or Found
            An image; or an earlier answer with `keep`, to cluster again with other settings.
        keep : bool
            Ask the server to keep what the network saw for a short time.
        **settings
            See `discern.results.Settings`.

        Raises
        ------
        ServerProblem
            If the server refuses or fails.
        NoAnswer
            If none came in time.
        """
        return found_in(self._send(segment_call(image, settings, **kept(keep=keep))))

    def render(
        self, image: Source | Found, format: str, **settings: Unpack[Settings]  # noqa: A002 - as the API calls it
    ) -> bytes:  # fmt: skip
        """Return the answer's body in any format of the server, such as ``"overlay_png"``.

        Raises
        ------
        ServerProblem, NoAnswer
            As `segment` does.
        """
        return self._send(segment_call(image, settings, format=format)).content

    def segment_many(
        self,
        images: Iterable[S],
        *,
        at_once: int = 4,
        progress: Callable[[int], object] | None = None,
        **settings: Unpack[Settings],
    ) -> Iterator[tuple[S, Found | DiscernClientError | OSError | ValueError]]:
        """Segment images side by side and yield each with its answer, as they finish.

        Parameters
        ----------
        images : iterable
            Taken one by one, so that it may be endless.
        at_once : int
            Requests under way at the same time.
        progress : callable, optional
            Told after each image how many are done.
        **settings
            As for `segment`.

        Yields
        ------
        image, Found or error
            What was handed in, and its answer or why there is none.
        """

        def one(image: S) -> Found | DiscernClientError | OSError | ValueError:
            try:
                return self.segment(image, **settings)
            except (DiscernClientError, OSError, ValueError) as error:
                return error

        done_count = 0
        running: dict[Future[Found | DiscernClientError | OSError | ValueError], S] = {}
        todo = iter(images)
        with ThreadPoolExecutor(at_once, thread_name_prefix="segment") as pool:
            while True:
                for image in itertools.islice(todo, at_once - len(running)):
                    running[pool.submit(one, image)] = image
                if not running:
                    return
                for task in wait(running, return_when=FIRST_COMPLETED).done:
                    done_count += 1
                    if progress:
                        progress(done_count)
                    yield running.pop(task), task.result()

    def models(self) -> list[dict[str, Any]]:
        """Return what the server says of its models."""
        return read(self._send(Call("GET", "models", {})), list)

    def limits(self) -> dict[str, Any]:
        """Return what the server accepts."""
        return read(self._send(Call("GET", "limits", {})), dict)

    def ready(self) -> bool:
        """Return whether the server says that it is ready; False when it does not answer."""
        try:
            return self._attempt(READY.arguments(self.timeout_s)).is_success
        except httpx2.RequestError:
            return False

    def _send(self, call: Call) -> httpx2.Response:
        talk = converse(self.retries, self.timeout_s)
        step = next(talk)
        while True:
            outcome: Outcome | None = None
            if isinstance(step, Sleep):
                time.sleep(step.seconds)
            else:
                try:
                    outcome = self._attempt(call.arguments(step.timeout_s))
                except httpx2.RequestError as error:
                    outcome = error
            try:
                step = talk.send(outcome)
            except StopIteration as last:
                return checked(last.value)

    def _attempt(self, arguments: dict[str, Any]) -> httpx2.Response:
        """Send once, on a thread of its own: httpx2 gives every piece the whole time anew."""
        answer: Future[httpx2.Response] = Future()

        def send() -> None:
            try:
                answer.set_result(self._exchange(arguments))
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                answer.set_exception(error)

        # Left behind when the time is up; as a daemon it does not keep the program from ending.
        # What the caller is part of, such as a trace, is told by its context.
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(send,), name="call", daemon=True).start()
        try:
            return answer.result(arguments["timeout"])
        except TimeoutError as error:
            raise httpx2.ReadTimeout(LATE) from error

    def _exchange(self, arguments: dict[str, Any]) -> httpx2.Response:
        """Send and read; an answer without end is not read on when nobody waits any more."""
        end_s = time.monotonic() + arguments["timeout"]
        with self._http.stream(**arguments) as response:
            body = bytearray()
            for piece in response.iter_raw():
                body += piece
                if time.monotonic() > end_s:
                    raise httpx2.ReadTimeout(LATE)
        return httpx2.Response(
            response.status_code,
            headers=response.headers,
            content=bytes(body),
            request=response.request,
            extensions=response.extensions,
        )
