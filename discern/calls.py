"""What goes over the wire and what comes back: shared by both clients, without any socket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2

from discern.images import Source, bytes_of
from discern.problems import NoAnswer, ServerProblem
from discern.results import Found, Settings, query_of
from discern.retries import Outcome

LOCAL = "http://127.0.0.1:8000"

LATE = "not all of it came in time"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One request, ready to be sent as often as it takes."""

    method: str
    path: str
    params: dict[str, str]
    content: bytes | None = None

    def arguments(self, timeout_s: float) -> dict[str, Any]:
        """Say it to httpx2; the server is told how long the caller waits."""
        params, headers = dict(self.params), {}
        if self.method == "POST":
            params.setdefault("timeout_ms", str(max(1, round(timeout_s * 1000))))
        if self.content is not None:
            headers["Content-Type"] = "application/octet-stream"
        return {
            "method": self.method,
            "url": self.path,
            "params": params,
            "content": self.content,
            "headers": headers,
            "timeout": timeout_s + 1,  # the server's own word on its deadline comes first
        }


READY = Call("GET", "readyz", {})


def segment_call(image: Source | Found, settings: Settings, **more: str) -> Call:
    """Return the request for an image, or for what the server kept of one.

    Raises
    ------
    ValueError
        If an earlier answer was not kept.
    """
    params = {**query_of(settings), **more}
    if not isinstance(image, Found):
        return Call("POST", "segment", params, bytes_of(image))
    if image.embedding is None:
        raise ValueError("this answer was not kept: segment the image with keep=True")
    return Call("POST", "segment", {"model": image.model, **params, "embedding": image.embedding})


def kept(*, keep: bool) -> dict[str, str]:
    """Write the wish to keep as query parameters."""
    return {"keep": "true"} if keep else {}


def found_in(response: httpx2.Response) -> Found:
    """Read the answer of ``POST /segment``."""
    try:
        return Found.from_answer(read(response, dict), response.headers.get("embedding-id"))
    except (KeyError, TypeError) as error:
        raise _foreign(response) from error


def read(response: httpx2.Response, kind: type[T]) -> T:
    """Return the JSON of a good answer, which is of one kind: dict or list."""
    try:
        found = response.json()
    except ValueError:
        found = None
    if not isinstance(found, kind):
        raise _foreign(response)
    return found


def base_of(url: str) -> httpx2.URL:
    """Return the address that every path is added to."""
    try:
        return httpx2.URL(f"{url.rstrip('/')}/")
    except httpx2.InvalidURL as error:
        raise NoAnswer(f"{url!r} is no address of a server: {error}") from error


def checked(outcome: Outcome) -> httpx2.Response:
    """Return a good answer; raise what anything else means."""
    if isinstance(outcome, httpx2.RequestError):
        raise NoAnswer(
            f"no answer from the server: {outcome or type(outcome).__name__}"
        ) from outcome
    if outcome.is_success:
        if outcome.headers.get("content-type", "").startswith("text/html"):
            raise _foreign(outcome)
        return outcome
    try:
        details = outcome.json()
    except ValueError:
        details = {"detail": outcome.text or outcome.reason_phrase}
    details = details if isinstance(details, dict) else {}
    if details.get("parameter") == "timeout_ms":  # which the client wrote
        details["detail"] = f"{details.get('detail')}; the client was made with a longer timeout_s"
    raise ServerProblem(outcome.status_code, details)


def _foreign(response: httpx2.Response) -> NoAnswer:
    """Return the error for a success that is not Discern's, such as a proxy's page to log in."""
    sent = response.headers.get("content-type") or "something"
    return NoAnswer(f"what answers at {response.url} is no Discern server: it sent {sent}")


def headers_of(api_key: str | None) -> dict[str, str]:
    """Return the headers that every request carries; space around a key is not of it."""
    key = (api_key or "").strip()
    if not key.isascii() or not key.isprintable():
        raise NoAnswer("the API key holds what no key does: was it copied alone?")  # and not shown
    return {"Authorization": f"Bearer {key}"} if key else {}
