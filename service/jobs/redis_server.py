"""The Redis that keeps jobs: its transactions, its clock, its errors."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, TypeVar

from redis import Redis
from redis.exceptions import RedisError

from service.errors import JobsUnavailable

T = TypeVar("T")

_CONNECT_S: Final = 3.0
_ANSWER_S: Final = 10.0
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

    def change(self, work: Callable[[Any], T], *watched: str) -> T:
        """Make one transaction of what `work` reads and then, after ``multi()``, writes.

        It is done again from its beginning when somebody changes one of the keys meanwhile, or when
        the connection breaks.

        Raises
        ------
        JobsUnavailable
            If the server does not answer, or refuses.
        """
        try:
            done: T = self._redis.transaction(work, *watched, value_from_callable=True)
        except RedisError as error:
            raise JobsUnavailable("the store of jobs does not answer", retry_after_s=5) from error
        return done

    def time_s(self) -> float:
        """Return the server's clock, in seconds since 1970."""
        try:
            seconds, microseconds = self._redis.time()
        except RedisError as error:
            raise JobsUnavailable("the store of jobs does not answer", retry_after_s=5) from error
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
