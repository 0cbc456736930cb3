"""What is asked of a place that keeps jobs, whichever it is."""

from __future__ import annotations

from typing import Protocol

from service.jobs.records import Item, ItemResult, JobStatus, Order


class JobStore(Protocol):
    """Orders, their items, and what became of them.

    What `submit` returned is kept until it has expired, whatever ends in between. An item leaves
    the state ``running`` with an outcome once: a second outcome changes nothing. Every method may
    raise `JobsUnavailable`, and is called from one thread at a time.
    """

    def submit(self, order: Order) -> JobStatus:
        """Keep an order; the same key and content again are the job of before.

        Raises
        ------
        IdempotencyKeyReused
            If the key stands for another order.
        JobsUnavailable
            If there is no room for it.
        """

    def status(self, client: str, job_id: str) -> JobStatus:
        """Return how far a job is.

        Raises
        ------
        JobNotFound
            If this client has no such job, or no longer.
        """

    def results(self, client: str, job_id: str) -> list[ItemResult]:
        """Return what became of the images of a finished job, in their order."""

    def cancel(self, client: str, job_id: str) -> JobStatus:
        """Begin nothing further of a job, and forget its images; what is finished stays."""

    def claim(self) -> Item | None:
        """Take the oldest item that waits; None when there is none."""

    def put_back(self, item: Item, *, delay_s: float = 0.0, tried: bool = False) -> None:
        """Let an item wait again; whether it has been tried says if the attempt counts."""

    def finish(self, item: Item, result: ItemResult) -> bool:
        """Keep the outcome of an item; False when it has one already, or was cancelled."""

    def recover(self) -> list[Item]:
        """Say that this process lives, and return what processes now gone were working on.

        The items stay ``running`` until `put_back` or `finish`.
        """

    def expire(self) -> int:
        """Forget jobs whose time is over and return how many."""

    def close(self) -> None:
        """Let go of the store; safe to call twice."""
