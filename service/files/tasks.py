"""Which files and pages there are to segment, and the names that their answers go by."""

from __future__ import annotations

import errno
import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

from service.errors import TooLarge
from service.imaging.stack import Stack

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif"})
"""What counts as an image in a folder; a file that is named is taken as it is."""

PICTURE: Final = ".overlay.png"
"""How the names of pictures end."""


@dataclass(frozen=True, slots=True)
class Task:
    """A file or page to segment, and the name that its answer goes by."""

    path: Path
    name: str
    page: int | None = None
    """The page that alone is read and segmented; of no page, the file is."""

    def read(self) -> bytes:
        """Return the file, or one that is the page."""
        if self.page is None:
            return self.path.read_bytes()
        with _stack(self.path) as stack:
            return stack.page(self.page)


def find_images(sources: Iterable[str]) -> list[Task]:
    """Return what to segment, each file once, in a stable order.

    Parameters
    ----------
    sources : iterable of str
        Files, folders (searched with everything below them) and patterns such as ``*.png``.

    Raises
    ------
    FileNotFoundError
        If one of them names nothing.
    """
    found: dict[str, Task] = {}
    for source in sources:
        for path, name in _expand(source):
            found.setdefault(os.path.abspath(path), Task(path, name))  # noqa: PTH100 - without ".."
    return _told_apart(found)


def _told_apart(found: Mapping[str, Task]) -> list[Task]:
    """Give longer names to those that would write to the same place.

    cells.png beside cells.jpg keeps its suffix; cells.png of two folders keeps its folders, too,
    up to the one that holds all of `found`.
    """
    names = {full: task.name for full, task in found.items()}
    for full in _twice(names):
        names[full] += found[full].path.suffix
    while twice := _twice(names):  # again if a longer name was that of another file
        root = os.path.commonpath([os.path.dirname(full) for full in found])  # noqa: PTH120 - text
        names |= {full: os.path.relpath(full, root) for full in twice}
    return [replace(task, name=names[full]) for full, task in found.items()]


def _twice(names: Mapping[str, str]) -> list[str]:
    """Return the keys of every name that occurs more than once."""
    count = Counter(names.values())
    return [key for key, name in names.items() if count[name] > 1]


def _expand(source: str) -> Iterator[tuple[Path, str]]:
    path = Path(source)
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            drawn = file.name.endswith(PICTURE)  # by an earlier run
            if file.suffix.lower() in SUFFIXES and not drawn and file.is_file():
                yield file, str(file.relative_to(path).with_suffix(""))
        return
    matches = [source] if path.exists() else sorted(glob.glob(source, recursive=True))  # noqa: PTH207 - patterns may be absolute
    if not matches:
        raise FileNotFoundError(f"{source}: no such file, and no file matches it")
    for match in matches:
        if Path(match).is_file():
            yield Path(match), Path(match).stem


def by_page(tasks: Iterable[Task]) -> list[Task]:
    """Return the pages of files in order, each a task of its own, with its number in its name.

    A file that cannot be read stays one task, which will say so.

    Raises
    ------
    TooLarge
        If a file has more pages than can be counted.
    """
    return [page for task in tasks for page in _pages(task)]


def _pages(task: Task) -> list[Task]:
    try:
        with _stack(task.path) as stack:
            return [
                replace(task, name=f"{task.name}/{stack.label(number)}", page=number)
                for number in stack.numbers()
            ]
    except TooLarge as error:
        raise TooLarge(f"{task.path}: {error.detail}", limit=error.limit) from error
    except OSError:
        return [task]


@contextmanager
def _stack(path: Path) -> Iterator[Stack]:
    """Open a file, of which only the pages that are asked for are read."""
    with path.open("rb") as file:
        data = _Parts(file)
        if not len(data):
            raise OSError(errno.ENODATA, "the file is empty")
        yield Stack(data)


class _Parts:
    """A file, read part by part.

    Mapped, it would end this process where another cuts it short, or its disk fails, meanwhile.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice, /) -> bytes:
        start, stop, _ = part.indices(self._size)
        self._file.seek(start)
        return self._file.read(max(0, stop - start))
