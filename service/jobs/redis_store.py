"""Jobs in Redis, for several gateways: what one accepts, any of them works off.

Every change is one transaction that watches what it has read, and begins again when another gateway
was quicker. Every change of an item is a change of its job's states, which are what is watched. So
the rules are those of the store in a file: an item leaves the state ``running`` once.

References
----------
https://redis.io/docs/latest/develop/interact/transactions/
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable
from typing import Any

from service.errors import IdempotencyKeyReused, JobNotFound, JobsUnavailable
from service.jobs.records import OVER, Item, ItemResult, JobStatus, Order, state_of
from service.jobs.redis_keys import (
    ENDED,
    HELD,
    LATER,
    RUNNING,
    SEQUENCE,
    WAITING,
    Place,
    attempts_key,
    idempotency_key,
    item_key,
    job_key,
    states_key,
)
from service.jobs.redis_server import RedisServer


class RedisJobs:
    """A `JobStore` that many processes share.

    Parameters
    ----------
    url : str
        ``redis://``, ``rediss://`` or ``unix://``, as redis-py reads it.
    max_bytes : int
        Images and results together; orders that come in the same instant may go beyond it.
    keep_s : float
        How long results are kept.
    lease_s : float
        A process that has not called `recover` for so long counts as gone.
    clock : callable, optional
        Seconds since 1970; Redis's own clock when None, so that hosts need not agree on theirs.

    Raises
    ------
    ValueError
        If `url` is none.
    """

    def __init__(
        self,
        url: str,
        *,
        max_bytes: int,
        keep_s: float,
        lease_s: float,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._server = RedisServer(url)
        self._max_bytes = max_bytes
        self._keep_s = keep_s
        self._lease_s = lease_s
        self._clock = clock or self._server.time_s
        self._own: dict[tuple[str, int], bytes] = {}  # places of what this process works on
        self._warned = False

    def submit(self, order: Order) -> JobStatus:
        """Keep an order; the same key and content again are the job of before."""
        job_id = secrets.token_urlsafe(16)
        key = idempotency_key(order.client, order.idempotency_key or job_id)
        size = sum(len(image) for _, image in order.images)

        def keep(redis: Any) -> str:
            known, _, digest = (redis.get(key) or b"").decode().partition(" ")
            if known and digest != order.digest:
                raise IdempotencyKeyReused("this Idempotency-Key was used for another request")
            if known:
                return known
            if sum(map(int, redis.hvals(HELD))) + size > self._max_bytes:
                raise JobsUnavailable("the store of jobs is full", retry_after_s=60)
            sequence, now_s = redis.incr(SEQUENCE), self._clock()
            places = [Place(sequence, number, job_id) for number in range(len(order.images))]
            redis.multi()
            redis.set(key, f"{job_id} {order.digest}")
            redis.hset(job_key(job_id), mapping={
                "client": order.client, "key": key, "query": order.query,
                "sequence": sequence, "created_s": now_s,
            })  # fmt: skip
            redis.hset(states_key(job_id), mapping={place.number: "queued" for place in places})
            redis.hset(HELD, job_id, size)
            for place, (name, image) in zip(places, order.images, strict=True):
                redis.hset(item_key(job_id, place.number), mapping={"name": name, "image": image})
                redis.zadd(WAITING, {place.name: 0})
            return job_id

        return self.status(order.client, self._server.change(keep, key))

    def status(self, client: str, job_id: str) -> JobStatus:
        """Return how far a job is."""
        fields = ("client", "cancelled", "created_s", "expires_s")

        def read(redis: Any) -> tuple[list[bytes | None], dict[int, str]]:
            return redis.hmget(job_key(job_id), fields), _states(redis, job_id)

        (owner, cancelled, created_s, expires_s), states = self._server.change(
            read, states_key(job_id)
        )
        if owner is None or created_s is None or owner.decode() != client:
            raise JobNotFound("there is no such job, or it has expired")
        counts = Counter(states.values())
        return JobStatus(
            job_id,
            state_of(counts, cancelled=bool(cancelled)),
            total=len(states),
            finished=counts["failed"] + counts["succeeded"],
            failed=counts["failed"],
            created_s=float(created_s),
            expires_s=None if expires_s is None else float(expires_s),
        )

    def results(self, client: str, job_id: str) -> list[ItemResult]:
        """Return what became of the images of a finished job, in their order."""
        total = self.status(client, job_id).total
        fields = ("name", "status", "media_type", "body")

        def read(redis: Any) -> list[list[bytes]]:
            return [redis.hmget(item_key(job_id, number), fields) for number in range(total)]

        return [
            ItemResult(name.decode(), int(status), media_type.decode(), body)
            for name, status, media_type, body in self._server.change(read, states_key(job_id))
            if body is not None
        ]

    def cancel(self, client: str, job_id: str) -> JobStatus:
        """Begin nothing further of a job, and forget its images; what is finished stays."""
        self.status(client, job_id)

        def stop(redis: Any) -> None:
            left = [n for n, state in _states(redis, job_id).items() if state not in OVER]
            if not left:
                return
            freed = sum(redis.hstrlen(item_key(job_id, number), "image") for number in left)
            places, now_s = [_place(redis, job_id, number) for number in left], self._clock()
            redis.multi()
            redis.hset(job_key(job_id), "cancelled", 1)
            redis.hset(states_key(job_id), mapping=dict.fromkeys(left, "cancelled"))
            redis.hincrby(HELD, job_id, -freed)
            for number in left:
                redis.hdel(item_key(job_id, number), "image")
            for order in (WAITING, LATER, RUNNING):
                redis.zrem(order, *places)
            self._end(redis, job_id, now_s)

        self._server.change(stop, states_key(job_id))
        return self.status(client, job_id)

    def claim(self) -> Item | None:
        """Take the oldest item that waits; None when there is none."""

        def take(redis: Any) -> bytes | None:
            now_s = self._clock()
            due = redis.zrangebyscore(LATER, "-inf", now_s)
            oldest: bytes | None = min([*redis.zrange(WAITING, 0, 0), *due], default=None)
            if oldest is None:
                return None
            place = Place.of(oldest)
            redis.multi()
            for name in due:
                redis.zrem(LATER, name)
                redis.zadd(WAITING, {name: 0})
            redis.zrem(WAITING, oldest)
            redis.zadd(RUNNING, {oldest: now_s + self._lease_s})
            redis.hset(states_key(place.job_id), place.number, "running")
            redis.hincrby(attempts_key(place.job_id), place.number, 1)
            return oldest

        while (name := self._server.change(take, WAITING, LATER)) is not None:
            item = self._item(Place.of(name))  # where this fails, it is nobody's: to be recovered
            if item is not None:  # else it was cancelled since
                self._own[item.job_id, item.number] = name
                return item
        return None

    def put_back(self, item: Item, *, delay_s: float = 0.0, tried: bool = False) -> None:
        """Let an item wait again; whether it has been tried says if the attempt counts."""
        job_id, number = item.job_id, item.number

        def wait(redis: Any) -> None:
            if _states(redis, job_id).get(number) != "running":
                return
            place, now_s = _place(redis, job_id, number), self._clock()
            redis.multi()
            redis.hset(states_key(job_id), number, "queued")
            redis.hincrby(attempts_key(job_id), number, 0 if tried else -1)
            redis.zrem(RUNNING, place)
            redis.zadd(LATER, {place: now_s + delay_s})

        self._server.change(wait, states_key(job_id))
        self._own.pop((job_id, number), None)  # whoever takes it next has to give signs of life

    def finish(self, item: Item, result: ItemResult) -> bool:
        """Keep the outcome of an item; False when it has one already, or was cancelled."""
        job_id, number = item.job_id, item.number

        def end(redis: Any) -> bool:
            states = _states(redis, job_id)
            if states.get(number) != "running":
                return False
            place, now_s = _place(redis, job_id, number), self._clock()
            states[number] = "succeeded" if result.status < 400 else "failed"
            redis.multi()
            redis.hset(states_key(job_id), number, states[number])
            redis.hset(item_key(job_id, number), mapping={
                "status": result.status, "media_type": result.media_type, "body": result.body,
            })  # fmt: skip
            redis.hdel(item_key(job_id, number), "image")
            redis.hincrby(HELD, job_id, len(result.body) - len(item.image))
            redis.zrem(RUNNING, place)
            if all(state in OVER for state in states.values()):
                self._end(redis, job_id, now_s)
            return True

        changed = self._server.change(end, states_key(job_id))
        self._own.pop((job_id, number), None)
        return changed

    def recover(self) -> list[Item]:
        """Say that this process lives, and return what processes now gone were working on."""

        def take_over(redis: Any) -> list[bytes]:
            now_s = self._clock()
            own = set(self._own.values()).intersection(redis.zrange(RUNNING, 0, -1))
            left = set(redis.zrangebyscore(RUNNING, "-inf", now_s)) - own
            redis.multi()
            for name in own | left:  # also what is left: one process is to see to it, not two
                redis.zadd(RUNNING, {name: now_s + self._lease_s})
            return sorted(left)

        left = self._server.change(take_over, RUNNING)
        if not self._warned:
            self._warned = True
            self._server.warn_unless_kept()
        return [item for name in left if (item := self._item(Place.of(name))) is not None]

    def expire(self) -> int:
        """Forget jobs whose time is over and return how many."""

        def forget(redis: Any) -> int:
            over = [name.decode() for name in redis.zrangebyscore(ENDED, "-inf", self._clock())]
            told = [(redis.hget(job_key(j), "key"), redis.hlen(states_key(j))) for j in over]
            redis.multi()
            for job_id, (key, total) in zip(over, told, strict=True):
                items = [item_key(job_id, number) for number in range(total)]
                parts = (job_key(job_id), states_key(job_id), attempts_key(job_id))
                redis.unlink(key, *parts, *items)
                redis.hdel(HELD, job_id)
                redis.zrem(ENDED, job_id)
            return len(over)

        return self._server.change(forget, ENDED)

    def close(self) -> None:
        """Close the connections; safe to call twice."""
        self._server.close()

    def _item(self, place: Place) -> Item | None:
        """Return the item of a place, or None when it is over."""
        job_id, number = place.job_id, place.number

        def read(redis: Any) -> tuple[list[bytes | None], bytes | None, bytes | None]:
            return (
                redis.hmget(item_key(job_id, number), ("name", "image")),
                redis.hget(job_key(job_id), "query"),
                redis.hget(attempts_key(job_id), number),
            )

        (name, image), query, attempt = self._server.change(read, states_key(job_id))
        if name is None or image is None or query is None or attempt is None:
            return None
        return Item(job_id, number, name.decode(), query.decode(), image, int(attempt))

    def _end(self, redis: Any, job_id: str, now_s: float) -> None:
        redis.hset(job_key(job_id), "expires_s", now_s + self._keep_s)
        redis.zadd(ENDED, {job_id: now_s + self._keep_s})


def _states(redis: Any, job_id: str) -> dict[int, str]:
    pairs = redis.hgetall(states_key(job_id)).items()
    return {int(number): state.decode() for number, state in pairs}


def _place(redis: Any, job_id: str, number: int) -> bytes:
    return Place(int(redis.hget(job_key(job_id), "sequence")), number, job_id).name
