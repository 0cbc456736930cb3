"""How much one caller may ask for: a sliding window per caller, here or shared through Redis."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from limits import RateLimitItem, parse_many
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import ConfigurationError, StorageError

from service.errors import QuotaExceeded, SettingsError

_COMPLAIN_S: Final = 60.0
_ANSWER_S: Final = 1.0
_LOG = logging.getLogger(__name__)


def parse_quota(text: str) -> RateLimitItem:
    """Read a quota such as ``100/minute`` or ``10000 per day``.

    Raises
    ------
    SettingsError
        If it is none, or more than one.
    """
    try:
        item, *more = parse_many(text)
    except ValueError as error:
        raise SettingsError(f"{text!r} is no quota; write it as 100/minute") from error
    if more:
        raise SettingsError(f"{text!r} is more than one quota; write one, as 100/minute")
    return item


class Quotas:
    """Counts what callers ask for.

    Parameters
    ----------
    general : str
        The quota of every caller that has none of its own; empty for no bound.
    store : str
        Where the counts are: empty for this process, else ``redis://…``, shared by gateways.

    Raises
    ------
    SettingsError
        If either is not understood, or redis-py is not installed.

    Notes
    -----
    A store that does not answer lets requests pass: quotas share a service out, and a service that
    is down is shared by nobody. The gate still bounds what is taken on.
    """

    def __init__(self, general: str, store: str = "") -> None:
        self._general = parse_quota(general) if general else None
        self._close: Callable[[], Awaitable[None]] | None = None
        storage: Storage = MemoryStorage()
        if store:
            self._close, storage = _shared(store)
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._complained_s = -math.inf

    async def take(self, caller: str, own: str | None = None) -> dict[str, str]:
        """Count one request.

        Parameters
        ----------
        caller : str
            Tells callers apart.
        own : str, optional
            The caller's own quota, instead of the general one.

        Returns
        -------
        dict
            ``RateLimit`` and ``RateLimit-Policy``, for the answer; empty without a quota.

        Raises
        ------
        QuotaExceeded
            If nothing is left; its `headers` are those above.
        """
        item = parse_quota(own) if own else self._general
        if item is None:
            return {}
        try:
            granted = await self._limiter.hit(item, caller)
            resets_s, left = await self._limiter.get_window_stats(item, caller)
        except StorageError as error:
            self._complain(error)
            return {}
        wait_s = max(0.0, resets_s - time.time())
        headers = {
            "RateLimit-Policy": f'"requests";q={item.amount};w={item.get_expiry()}',
            "RateLimit": f'"requests";r={left if granted else 0};t={math.ceil(wait_s)}',
        }
        if not granted:
            raise QuotaExceeded(
                f"the quota of {item.amount} requests in {item.get_expiry()} s is used up",
                retry_after_s=wait_s,
                headers=headers,
            )
        return headers

    async def aclose(self) -> None:
        """Close the connections to the store; safe to call twice."""
        if self._close is not None:
            await self._close()

    def _complain(self, error: StorageError) -> None:
        now_s = time.monotonic()
        if now_s - self._complained_s > _COMPLAIN_S:
            self._complained_s = now_s
            _LOG.warning("quotas are not counted: their store does not answer", exc_info=error)


def _shared(store: str) -> tuple[Callable[[], Awaitable[None]], Storage]:
    """Return the counts at an address, and what closes the connections to it."""
    try:
        from redis.asyncio import ConnectionPool
    except ImportError as error:
        raise SettingsError(
            "DISCERN_QUOTA_STORE is set, but redis-py is not installed: "
            "pip install 'discern[redis]'"
        ) from error
    try:
        # A store that hangs must not hold requests up.
        pool: Any = ConnectionPool.from_url(
            store, socket_connect_timeout=_ANSWER_S, socket_timeout=_ANSWER_S
        )
        storage = RedisStorage(
            f"async+{store}", wrap_exceptions=True, implementation="redispy", connection_pool=pool
        )
    except (ValueError, ConfigurationError) as error:
        raise SettingsError("DISCERN_QUOTA_STORE must look like redis://host:6379") from error
    return pool.aclose, storage
