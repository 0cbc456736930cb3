"""The one place that chooses where jobs are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from service.errors import SettingsError
from service.jobs.sqlite_store import SqliteJobs
from service.jobs.store import JobStore
from service.settings import Settings


@dataclass(frozen=True, slots=True)
class Opener:
    """How a store is opened.

    Parameters
    ----------
    open : callable
        Opens it; raises `JobsUnavailable` when it cannot be.
    at_start : bool
        Whether work may be waiting in it; else it is opened with the first job.
    recover_s : float
        Pause between two calls of `JobStore.recover`, in seconds.
    """

    open: Callable[[], JobStore]
    at_start: bool
    recover_s: float


def choose_store(settings: Settings) -> Opener:
    """Return how to open the store that the settings ask for.

    Raises
    ------
    SettingsError
        If the address of the store is none, or redis-py is not installed.
    """
    recover_s = settings.job_lease_s / 3
    if not settings.jobs_store:
        return Opener(lambda: _sqlite(settings), settings.jobs_file.exists(), recover_s)
    try:
        from service.jobs.redis_store import RedisJobs

        store = RedisJobs(
            settings.jobs_store,
            max_bytes=settings.jobs_max_bytes,
            keep_s=settings.job_keep_s,
            lease_s=settings.job_lease_s,
        )
    except ImportError as error:
        raise SettingsError(
            "DISCERN_JOBS_STORE is set, but redis-py is not installed: pip install 'discern[redis]'"
        ) from error
    except ValueError as error:
        raise SettingsError("DISCERN_JOBS_STORE must look like redis://host:6379") from error
    return Opener(lambda: store, at_start=True, recover_s=recover_s)


def _sqlite(settings: Settings) -> SqliteJobs:
    return SqliteJobs(
        settings.jobs_file, max_bytes=settings.jobs_max_bytes, keep_s=settings.job_keep_s
    )
