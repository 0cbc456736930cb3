"""How jobs lie in Redis.

A job ``J`` is a hash ``job:J`` (what was asked), two hashes with one field for each of its items,
``states:J`` and ``attempts:J``, and a hash ``item:J:N`` for each item (name, image, outcome). Its
idempotency key, given or made up, leads to it.

An item that is not over has its place in one of three sorted sets: ``waiting``, ordered by the
place's name; ``later``, by when it may be tried again; ``running``, by when whoever works on it
counts as gone. Jobs that are over are in ``ended``, by when they expire; ``held`` has the bytes of
each job.
"""

from __future__ import annotations

from typing import Final, NamedTuple

# The braces keep all keys on one node of a cluster: a transaction cannot span two.
_PREFIX: Final = "{discern:jobs}:"
WAITING: Final = _PREFIX + "waiting"
LATER: Final = _PREFIX + "later"
RUNNING: Final = _PREFIX + "running"
ENDED: Final = _PREFIX + "ended"
HELD: Final = _PREFIX + "held"
SEQUENCE: Final = _PREFIX + "sequence"


class Place(NamedTuple):
    """Where an item stands in the order of all; the earlier one has the lesser name."""

    sequence: int
    number: int
    job_id: str

    @property
    def name(self) -> bytes:
        """Its member of the sorted sets: digits of one length, so that names sort as numbers do."""
        return f"{self.sequence:016d}:{self.number:08d}:{self.job_id}".encode()

    @classmethod
    def of(cls, name: bytes) -> Place:
        """Return the place of that name."""
        sequence, number, job_id = name.decode().split(":", 2)
        return cls(int(sequence), int(number), job_id)


def job_key(job_id: str) -> str:
    """Return where it is written what was asked."""
    return f"{_PREFIX}job:{job_id}"


def states_key(job_id: str) -> str:
    """Return where the states of a job's items are."""
    return f"{_PREFIX}states:{job_id}"


def attempts_key(job_id: str) -> str:
    """Return where the attempts at a job's items are counted."""
    return f"{_PREFIX}attempts:{job_id}"


def item_key(job_id: str, number: int) -> str:
    """Return where an item's name, image and outcome are."""
    return f"{_PREFIX}item:{job_id}:{number}"


def idempotency_key(client: str, given: str) -> str:
    """Return where it is written which job a client's key stands for.

    A key holds no space: however many colons a client's address has, no two share a place.
    """
    return f"{_PREFIX}key:{client} {given}"
