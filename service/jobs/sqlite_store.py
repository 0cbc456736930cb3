"""Jobs in one SQLite file: what was accepted is on disk before the caller hears of it.

Every change is one transaction. An item leaves the state ``running`` once: the statement that
writes its outcome asks for that state, so that a second outcome finds nothing to change.
"""

from __future__ import annotations

import fcntl
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from service.errors import IdempotencyKeyReused, JobNotFound, JobsUnavailable
from service.jobs.records import OVER, Item, ItemResult, JobStatus, Order, state_of

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, client TEXT NOT NULL, idempotency_key TEXT, digest TEXT NOT NULL,
    query TEXT NOT NULL, cancelled INTEGER NOT NULL DEFAULT 0, created_s REAL NOT NULL,
    expires_s REAL, UNIQUE (client, idempotency_key)
);
CREATE TABLE IF NOT EXISTS items (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE, number INTEGER NOT NULL,
    name TEXT NOT NULL, image BLOB, state TEXT NOT NULL DEFAULT 'queued',
    attempts INTEGER NOT NULL DEFAULT 0,
    not_before_s REAL NOT NULL DEFAULT 0, -- read by 0.1.0 alone, to which one may go back
    status INTEGER, media_type TEXT, body BLOB, PRIMARY KEY (job_id, number)
);
DROP INDEX IF EXISTS items_by_state;
CREATE INDEX IF NOT EXISTS items_of_state_in_turn ON items (state); -- and by rowid, as every index
"""
_OVER: Final = str(OVER)  # reads as SQL writes it


class SqliteJobs:
    """A `JobStore` in a file that one process holds at a time.

    Parameters
    ----------
    path : Path
        The file; it and its folder are made when they are not there.
    max_bytes : int
        Images and results together.
    keep_s : float
        How long results are kept.
    clock : callable
        Seconds since 1970, for what is in the file, which outlives the process.
    timer : callable
        Seconds that no change of the clock makes more or fewer, for what is to wait.

    Raises
    ------
    JobsUnavailable
        If the file cannot be used, or another process holds it.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        keep_s: float,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_bytes
        self._keep_s = keep_s
        self._clock = clock
        self._timer = timer
        self._not_before_s: dict[tuple[str, int], float] = {}  # of items that were put back
        with ExitStack() as opened:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                lock = opened.enter_context(path.with_suffix(".lock").open("w"))
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
                opened.callback(self._db.close)
                self._db.executescript(
                    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; "
                    "PRAGMA foreign_keys = ON;" + _SCHEMA
                )
            except (OSError, sqlite3.Error) as error:
                raise JobsUnavailable(
                    "the store of jobs cannot be used, or another process uses it",
                    retry_after_s=30,
                ) from error
            self._held = opened.pop_all()
        self._left = self._running()

    def submit(self, order: Order) -> JobStatus:
        """Keep an order; the same key and content again are the job of before.

        Raises
        ------
        IdempotencyKeyReused
            If the key stands for another order.
        JobsUnavailable
            If there is no room for it.
        """
        with self._change() as db:
            known = db.execute(
                "SELECT id, digest FROM jobs WHERE client = ? AND idempotency_key = ?",
                (order.client, order.idempotency_key),
            ).fetchone()
            if known and known[1] != order.digest:
                raise IdempotencyKeyReused("this Idempotency-Key was used for another request")
            job_id = known[0] if known else secrets.token_urlsafe(16)
            if not known:
                self._make_room(sum(len(image) for _, image in order.images))
                db.execute(
                    "INSERT INTO jobs (id, client, idempotency_key, digest, query, created_s) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (job_id, order.client, order.idempotency_key, order.digest, order.query,
                     self._clock()),
                )  # fmt: skip
                db.executemany(
                    "INSERT INTO items (job_id, number, name, image) VALUES (?, ?, ?, ?)",
                    [(job_id, n, name, image) for n, (name, image) in enumerate(order.images)],
                )
        return self.status(order.client, job_id)

    def status(self, client: str, job_id: str) -> JobStatus:
        """Return how far a job is.

        Raises
        ------
        JobNotFound
            If this client has no such job, or no longer.
        """
        with self._change() as db:
            job = db.execute(
                "SELECT cancelled, created_s, expires_s FROM jobs WHERE id = ? AND client = ?",
                (job_id, client),
            ).fetchone()
            if job is None:
                raise JobNotFound("there is no such job, or it has expired")
            counts = dict(
                db.execute(
                    "SELECT state, count(*) FROM items WHERE job_id = ? GROUP BY state", (job_id,)
                ).fetchall()
            )
        total, failed = sum(counts.values()), counts.get("failed", 0)
        finished = failed + counts.get("succeeded", 0)
        state = state_of(counts, cancelled=bool(job[0]))
        return JobStatus(job_id, state, total, finished, failed, job[1], job[2])

    def results(self, client: str, job_id: str) -> list[ItemResult]:
        """Return what became of the images of a finished job, in their order."""
        self.status(client, job_id)
        with self._change() as db:
            rows = db.execute(
                "SELECT name, status, media_type, body FROM items "
                "WHERE job_id = ? AND body IS NOT NULL ORDER BY number",
                (job_id,),
            ).fetchall()
        return [ItemResult(*row) for row in rows]

    def cancel(self, client: str, job_id: str) -> JobStatus:
        """Begin nothing further of a job, and forget its images; what is finished stays."""
        self.status(client, job_id)
        with self._change() as db:
            changed = db.execute(
                "UPDATE items SET state = 'cancelled', image = NULL WHERE job_id = ? "
                "AND state IN ('queued', 'running')",
                (job_id,),
            ).rowcount
            if changed:
                db.execute("UPDATE jobs SET cancelled = 1 WHERE id = ?", (job_id,))
                self._close_if_over(job_id)
        return self.status(client, job_id)

    def claim(self) -> Item | None:
        """Take the oldest item that waits; None when there is none."""
        with self._change() as db:
            place = self._next(db)
            if place is None:
                return None
            row = db.execute(
                "SELECT job_id, number, name, query, image, attempts + 1 FROM items "
                "JOIN jobs ON jobs.id = job_id WHERE job_id = ? AND number = ?",
                place,
            ).fetchone()
            item = Item(*row)
            db.execute(
                "UPDATE items SET state = 'running', attempts = attempts + 1 "
                "WHERE job_id = ? AND number = ?",
                (item.job_id, item.number),
            )
        return item

    def put_back(self, item: Item, *, delay_s: float = 0.0, tried: bool = False) -> None:
        """Let an item wait again; whether it has been tried says if the attempt counts."""
        with self._change() as db:
            db.execute(
                "UPDATE items SET state = 'queued', attempts = attempts - ? "
                "WHERE job_id = ? AND number = ? AND state = 'running'",
                (not tried, item.job_id, item.number),
            )
        self._not_before_s[item.job_id, item.number] = self._timer() + delay_s

    def finish(self, item: Item, result: ItemResult) -> bool:
        """Keep the outcome of an item; False when it has one already, or was cancelled."""
        state = "succeeded" if result.status < 400 else "failed"
        with self._change() as db:
            changed = db.execute(
                "UPDATE items SET state = ?, image = NULL, status = ?, media_type = ?, body = ? "
                "WHERE job_id = ? AND number = ? AND state = 'running'",
                (state, result.status, result.media_type, result.body, item.job_id, item.number),
            ).rowcount
            self._close_if_over(item.job_id)
        return bool(changed)

    def recover(self) -> list[Item]:
        """Return what the process before this one was working on; later there is no other."""
        left, self._left = self._left, []
        return left

    def expire(self) -> int:
        """Forget jobs whose time is over and return how many."""
        with self._change() as db:
            return int(
                db.execute("DELETE FROM jobs WHERE expires_s <= ?", (self._clock(),)).rowcount
            )

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._held.close()

    def _next(self, db: sqlite3.Connection) -> tuple[str, int] | None:
        """Return job and number of the oldest item that may be claimed."""
        now_s, later = self._timer(), self._not_before_s
        self._not_before_s = {place: due_s for place, due_s in later.items() if due_s > now_s}
        queued = db.execute(
            "SELECT job_id, number FROM items WHERE state = 'queued' ORDER BY rowid"
        )
        return next((place for place in queued if place not in self._not_before_s), None)

    def _running(self) -> list[Item]:
        with self._change() as db:
            rows = db.execute(
                "SELECT job_id, number, name, query, image, attempts FROM items "
                "JOIN jobs ON jobs.id = job_id WHERE state = 'running'"
            ).fetchall()
        return [Item(*row) for row in rows]

    def _make_room(self, size: int) -> None:
        (held,) = self._db.execute(
            "SELECT coalesce(sum(coalesce(length(image), 0) + coalesce(length(body), 0)), 0) "
            "FROM items"
        ).fetchone()
        if held + size > self._max_bytes:
            raise JobsUnavailable("the store of jobs is full", retry_after_s=60)

    def _close_if_over(self, job_id: str) -> None:
        self._db.execute(
            "UPDATE jobs SET expires_s = ? WHERE id = ? AND expires_s IS NULL AND NOT EXISTS "  # noqa: S608 - only constants
            f"(SELECT 1 FROM items WHERE job_id = jobs.id AND state NOT IN {_OVER})",
            (self._clock() + self._keep_s, job_id),
        )

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """All or nothing."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:  # a full disk, a file taken away
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise JobsUnavailable(
                "the store of jobs cannot be written", retry_after_s=30
            ) from error
