"""A run's folder belongs to one process: two would write their weights over each other's."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.loop.checkpoint import CheckpointError


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep a folder to this process; what it holds of it ends with it, however it ends.

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
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise CheckpointError(
            f"{folder}: another process trains there; end it first, or give this run another name "
            "with --set name=NAME"
        ) from None
    except OSError:  # of network file systems some lock no folder
        pass
    try:
        yield
    finally:
        os.close(descriptor)
