"""The Redis that keeps jobs: its transactions, its clock, its errors."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from redis import Redis
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as TimeoutOfRedis

from service.errors import JobsUnavailable

T = TypeVar("T")

_CONNECT_S: Final = 3.0
_ANSWER_S: Final = 10.0
_PAUSE_S: Final = 5.0
_NO_ANSWER: Final = "the store of jobs does not answer"
_KEEPS_ALL: Final = "noeviction"
_LOG = logging.getLogger(__name__)


class RedisServer:
    """A server, reached when it is first asked something.

    Parameters
    ----------
    url : str
        ``redis://``, ``rediss://`` or ``unix://``, as redis-py reads it.

    Raises
    ------
    ValueError
        If `url` is none.
    """

    def __init__(self, url: str) -> None:
        # Any: its types speak of the blocking and of the asyncio client at once.
        self._redis: Any = Redis.from_url(
            url, socket_connect_timeout=_CONNECT_S, socket_timeout=_ANSWER_S
        )
        self._silent_until_s = -math.inf

    def change(self, work: Callable[[Any], T], *watched: str) -> T:
        """Make one transaction of what `work` reads and then, after ``multi()``, writes.

        It is done again from its beginning when somebody changes one of the keys meanwhile, or when
        the connection breaks.

        Raises
        ------
        JobsUnavailable
            If the server does not answer, or refuses.
        """
        with self._answering():
            done: T = self._redis.transaction(work, *watched, value_from_callable=True)
        return done

    def time_s(self) -> float:
        """Return the server's clock, in seconds since 1970."""
        with self._answering():
            seconds, microseconds = self._redis.time()
        return float(seconds + microseconds / 1e6)

    def warn_unless_kept(self) -> None:
        """Log when the server is set to forget what it is given."""
        try:
            kept = self._redis.config_get("appendonly").get("appendonly", "yes")
            evicted = self._redis.config_get("maxmemory-policy").get("maxmemory-policy", _KEEPS_ALL)
        except RedisError:  # a managed server tells nobody
            return
        if kept == "no":
            _LOG.warning("jobs are lost when Redis ends: set its appendonly to yes")
        if evicted != _KEEPS_ALL:
            _LOG.warning("Redis may evict jobs: set its maxmemory-policy to %s", _KEEPS_ALL)

    def close(self) -> None:
        """Close the connections; safe to call twice."""
        self._redis.close()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Translate errors. Who asks soon after a call ran out of time is told so without one.

        All wait for one thread: were each to wait for a silent server, the last would for minutes,
        and what he sent would fill the memory for bodies.
        """
        if time.monotonic() < self._silent_until_s:
            raise JobsUnavailable(_NO_ANSWER, retry_after_s=_PAUSE_S)
        try:
            yield
        except RedisError as error:
            if isinstance(error, TimeoutOfRedis):
                self._silent_until_s = time.monotonic() + _PAUSE_S
            raise JobsUnavailable(_NO_ANSWER, retry_after_s=_PAUSE_S) from error
