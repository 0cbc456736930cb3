"""Files that are there whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a place beside `path` to write to; at the end it becomes `path`, with its permissions.

    Where the writing fails, `path` stays as it was, and nothing is left beside it; a process that
    is killed leaves what it had written. Of several that write at once, the last one's file stays.

    Parameters
    ----------
    path : Path
        In a folder that is there.

    Raises
    ------
    OSError
        As the writing does, with the name of the file.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield part
        if path.exists() and (kept := path.stat().st_mode) != part.stat().st_mode:
            part.chmod(stat.S_IMODE(kept))
        part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)  # a full disk names none
        raise
