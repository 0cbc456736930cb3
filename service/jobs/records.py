"""What a job is: one image or several, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
OVER: Final = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Order:
    """What a caller hands in.

    Parameters
    ----------
    client : str
        Whose job it is; nobody else sees it.
    query : str
        The parameters, as JSON.
    images : tuple of (str, bytes)
        Names and files.
    digest : str
        Of parameters and images, to tell a repetition from another order.
    idempotency_key : str, optional
        Two orders of one client under one key are one job.
    """

    client: str
    query: str
    images: tuple[tuple[str, bytes], ...]
    digest: str
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class JobStatus:
    """How far a job is. Times are seconds since 1970."""

    id: str
    state: State
    total: int
    finished: int
    failed: int
    created_s: float
    expires_s: float | None


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a job, to be worked on now."""

    job_id: str
    number: int
    name: str
    query: str
    image: bytes
    attempt: int


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of one image: an answer, or a problem document."""

    name: str
    status: int
    media_type: str
    body: bytes


def state_of(counts: Mapping[str, int], *, cancelled: bool) -> State:
    """Return the state of a job from how many of its items are in which."""
    if cancelled:
        return "cancelled"
    if counts.get("queued", 0) + counts.get("running", 0):
        begun = set(counts) - {"queued"}
        return "running" if begun else "queued"
    return "succeeded" if counts.get("succeeded") else "failed"
