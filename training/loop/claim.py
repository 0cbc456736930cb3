"""A run's folder belongs to one process: two would write their weights over each other's."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.loop.checkpoint import CheckpointError


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep a folder to this process; the claim ends with it, however it ends.

    Parameters
    ----------
    folder : Path
        Of the run; made where there is none. A file system without locks leaves it to all.

    Raises
    ------
    CheckpointError
        If another process trains there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            # Not flock, whose locks the workers inherit: they live some seconds longer than a
            # run that is killed, which has to go on at once.
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise CheckpointError(
                f"{folder}: another process trains there; end it first, or give this run another "
                "name with --set name=NAME"
            ) from None
        except OSError:  # some network file systems know no locks
            pass
        yield
