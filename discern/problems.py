"""What can go wrong between a program and the server.

::

    DiscernClientError
    |-- ServerProblem     the server answered with a problem; says which and why
    `-- NoAnswer          nothing came back: unreachable, cut off, out of time, no Discern server
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class DiscernClientError(Exception):
    """Base of everything that the client raises about a call."""


class NoAnswer(DiscernClientError):
    """No answer of a Discern server came in the time allowed, after every attempt."""


class ServerProblem(DiscernClientError):
    """A problem as the server words it (RFC 9457).

    Parameters
    ----------
    status : int
        HTTP status.
    details : mapping
        The problem document; members that are missing stay empty.
    """

    def __init__(self, status: int, details: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(details.get("code", ""))
        self.title = str(details.get("title", "The request failed"))
        self.detail = str(details.get("detail", ""))
        self.request_id = str(details.get("request_id", ""))
        self.details = details
        super().__init__(f"{self.title} ({status}): {self.detail}")

    def __reduce__(self) -> tuple[type[ServerProblem], tuple[int, Mapping[str, Any]]]:
        """Pickle what it was made from: pools of processes hand errors over so."""
        return type(self), (self.status, self.details)
