"""Many image files in, an answer for each out: which to do, where to write, what is done already.

Nothing here parses arguments or prints.
"""

from __future__ import annotations

import errno
import glob
import itertools
import mmap
import os
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import orjson

from discern.rle import draw_labels
from service.domain import ImageLimits, Plane
from service.errors import DiscernError, OutOfMemory, TooLarge
from service.imaging.decode import decode_image
from service.imaging.stack import Stack
from service.masks.overlay import overlay_png
from service.memory import was_short
from service.whole_file import whole_file

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif"})
"""What counts as an image in a folder; a file that is named is taken as it is."""

PICTURE: Final = ".overlay.png"
"""How the names of pictures end."""

UNLIMITED: Final = ImageLimits(
    max_bytes=sys.maxsize, max_pixels=sys.maxsize, max_side_px=sys.maxsize
)
"""For an image that has been segmented: it was within the limits of whoever did that."""

Answer = Callable[[bytes], bytes]
"""From an image file's bytes to the answer of ``POST /segment``, here or on a server."""

_Key = tuple[str, int | None]
"""By what a line is known: file and page."""


@dataclass(frozen=True, slots=True)
class Task:
    """A file or page to segment, and the name that its answer goes by."""

    path: Path
    name: str
    page: int | None = None
    """The page that is segmented, where each is an image of its own."""

    def read(self) -> bytes:
        """Return the file, or one that is the page."""
        if self.page is None:
            return self.path.read_bytes()
        with _stack(self.path) as stack:
            return stack.page(self.page)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file or page: the number of instances, or why there is no answer."""

    path: Path
    page: int | None = None
    instances: int = 0
    problem: str | None = None


class Sink(Protocol):
    """Where answers go."""

    def has(self, task: Task) -> bool:
        """Return whether the answer is there already."""

    def put(self, task: Task, data: bytes, answer: bytes) -> None:
        """Keep the answer to an image; whole or not at all."""


class Folder:
    """One ``NAME.json`` per image, and ``NAME.overlay.png`` if pictures are wanted.

    Parameters
    ----------
    folder : Path
        Made when it is not there.
    pictures : bool
        Whether to draw.
    """

    def __init__(self, folder: Path, *, pictures: bool) -> None:
        self._folder = folder
        self._pictures = pictures
        folder.mkdir(parents=True, exist_ok=True)

    def has(self, task: Task) -> bool:
        """Return whether the answer is there already; it is written last."""
        return (self._folder / f"{task.name}.json").exists()

    def put(self, task: Task, data: bytes, answer: bytes) -> None:
        """Write the picture, then the answer."""
        if self._pictures:
            picture = draw(data, answer, cut=task.page is not None)
            _write(self._folder / f"{task.name}{PICTURE}", [picture])
        _write(self._folder / f"{task.name}.json", [answer])


class Lines:
    """One line of JSON per image in one file, with the image's path as ``file``.

    Where every page is an image, ``page`` says which.

    Parameters
    ----------
    path : Path
        Appended to; a last line that was cut off is taken back. An image that is answered again
        has both answers in it until `close`.

    Raises
    ------
    FileExistsError
        If the file holds something else.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path.resolve()
        self._file = path.open("a+b")
        self._file.seek(0)
        whole = 0
        self._done: set[_Key] = set()
        self._replaced = False  # whether an image has several lines
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            try:
                self._note(_key_in(line))
            except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                self._file.close()
                raise FileExistsError(f"{path} holds something else than answers") from error
        self._file.truncate(whole)

    def has(self, task: Task) -> bool:
        """Return whether a line of that file is there already."""
        return _key_of(task) in self._done

    def put(self, task: Task, data: bytes, answer: bytes) -> None:  # noqa: ARG002 - no picture here
        """Append one line, in one piece."""
        self._file.write(_line(task, answer))
        self._file.flush()
        self._note(_key_of(task))

    def close(self) -> None:
        """Leave out what a later line of the same image replaces, and close the file."""
        if self._replaced:
            _write(self._path, self._latest())
        self._file.close()

    def _note(self, key: _Key) -> None:
        self._replaced |= key in self._done
        self._done.add(key)

    def _latest(self) -> Iterator[bytes]:
        self._file.seek(0)
        last = {_key_in(line): number for number, line in enumerate(self._file)}
        latest = set(last.values())
        self._file.seek(0)
        yield from (line for number, line in enumerate(self._file) if number in latest)


class Stream:
    """The same lines, to whoever reads on: nothing is there already, and nothing is replaced.

    Parameters
    ----------
    out : binary stream
        Such as standard output.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def has(self, task: Task) -> bool:  # noqa: ARG002 - nothing is kept
        """Return False."""
        return False

    def put(self, task: Task, data: bytes, answer: bytes) -> None:  # noqa: ARG002 - no picture here
        """Write one line, in one piece."""
        self._out.write(_line(task, answer))
        self._out.flush()


def _line(task: Task, answer: bytes) -> bytes:
    page = {} if task.page is None else {"page": task.page}
    return orjson.dumps({"file": _text_of(task.path), **page})[:-1] + b"," + answer[1:] + b"\n"


def _key_of(task: Task) -> _Key:
    return _text_of(task.path), task.page


def _key_in(line: bytes) -> _Key:
    said = orjson.loads(line)
    return said["file"], said.get("page")


def _text_of(path: Path) -> str:
    r"""Return a path as JSON can hold it: a byte that is no UTF-8 is written as ``\xe9``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


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
    """Map a file, of which only the pages that are asked for are read."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise OSError(errno.ENODATA, "the file is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield Stack(data)


def segment_files(
    tasks: Iterable[Task], answer: Answer, sink: Sink, *, at_once: int
) -> Generator[Outcome, None, None]:
    """Segment files side by side and yield outcomes as they come.

    A file that fails is reported and leaves nothing behind. Only `at_once` images are in memory.

    Parameters
    ----------
    tasks : iterable of Task
        Taken one by one.
    answer : callable
        Is called from several threads.
    sink : Sink
        Likewise.
    at_once : int
        Files under way at the same time.
    """
    todo = iter(tasks)
    given: set[Future[Outcome]] = set()
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="file")
    try:
        while True:
            # One more than there are threads: none waits for this one to hear that it is idle.
            for task in itertools.islice(todo, at_once + 1 - len(given)):
                given.add(pool.submit(_segment_file, task, answer, sink))
            if not given:
                return
            done, given = wait(given, return_when=FIRST_COMPLETED)
            for finished in done:
                yield finished.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _segment_file(task: Task, answer: Answer, sink: Sink) -> Outcome:
    try:
        data = task.read()
        found = answer(data)
        sink.put(task, data, found)
    except DiscernError as error:
        return Outcome(task.path, task.page, problem=error.detail)
    except BrokenPipeError:  # nobody reads on: no other answer would arrive either
        raise
    except OSError as error:
        problem = error.strerror or "the file cannot be read or written"
        return Outcome(task.path, task.page, problem=problem)
    except Exception as error:
        if was_short(error):
            return Outcome(task.path, task.page, problem=OutOfMemory().detail)
        raise
    return Outcome(task.path, task.page, instances=len(orjson.loads(found)["instances"]))


def draw(data: bytes, answer: bytes, *, cut: bool = False) -> bytes:
    """Return a PNG of an image with the instances of its answer drawn in.

    Of a file that was cut out of a stack, the answer's page is the only one.
    """
    said: dict[str, Any] = orjson.loads(answer)
    # An older server says neither.
    page = 0 if cut else said["image"].get("page", 0)
    plane = Plane(page, said["image"].get("channel"))
    pixels = decode_image(data, UNLIMITED, plane).pixels
    masks = ((instance["id"], instance["segmentation"]) for instance in said["instances"])
    return overlay_png(pixels, draw_labels(pixels.shape[:2], masks))


def _write(path: Path, parts: Iterable[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part, part.open("wb") as file:
        file.writelines(parts)
