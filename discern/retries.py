"""When to try again, and when to stop: the part of the client that knows nothing of sockets.

A conversation is a generator: it yields what to do next, `Send` or `Sleep`, and returns what came
back last. The sync and the async client carry out the same conversation.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

import httpx2

Outcome = httpx2.Response | httpx2.RequestError

TRY_AGAIN = frozenset({429, 502, 503})
"""Statuses that are true of a moment: over quota, a backend that failed, overload or draining."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send the request; give up after so many seconds."""

    timeout_s: float


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait before going on."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Retries:
    """How patient a client is.

    Parameters
    ----------
    attempts : int
        Most times one request is sent.
    first_s, longest_s : float
        Pauses double from the first to the longest, and are shortened by chance so that many
        clients do not come back at once. A `Retry-After` of the server counts instead.
    """

    attempts: int = 5
    first_s: float = 0.2
    longest_s: float = 10.0

    def pause_s(self, attempt: int, outcome: Outcome) -> float | None:
        """Return how long to wait after attempt 1, 2, …; None when that was the last word."""
        if attempt >= self.attempts:
            return None
        if isinstance(outcome, httpx2.RequestError):
            if isinstance(outcome, httpx2.ReadTimeout):  # the time is used up
                return None
        elif outcome.status_code not in TRY_AGAIN:
            return None
        else:
            said: str = outcome.headers.get("retry-after", "")
            if said.isdecimal():
                return float(said)
        longest = min(self.longest_s, self.first_s * 2.0 ** (attempt - 1))
        return longest * random.uniform(0.5, 1)  # noqa: S311 - chance, not secrecy


def converse(
    retries: Retries, timeout_s: float, now: Callable[[], float] = time.monotonic
) -> Generator[Send | Sleep, Outcome | None, Outcome]:
    """Send until an answer stands or the time is used up.

    Parameters
    ----------
    retries : Retries
        How patient to be.
    timeout_s : float
        For all attempts and pauses together.
    now : callable
        The clock.

    Returns
    -------
    Response or RequestError
        What came back last.
    """
    end_s = now() + timeout_s
    attempt = 0
    while True:
        attempt += 1
        outcome = yield Send(max(end_s - now(), 0.001))
        if outcome is None:
            raise TypeError
        pause_s = retries.pause_s(attempt, outcome)
        if pause_s is None or now() + pause_s >= end_s:
            return outcome
        yield Sleep(pause_s)
