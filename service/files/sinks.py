"""Where answers go: a folder, one file of lines, or whoever reads on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, Final, Protocol

import orjson

from discern.rle import draw_labels
from service.domain import ImageLimits, Plane
from service.files.tasks import PICTURE, Task
from service.imaging.decode import decode_image
from service.imaging.stack import Stack
from service.masks.overlay import overlay_png
from service.whole_file import whole_file

UNLIMITED: Final = ImageLimits(
    max_bytes=sys.maxsize, max_pixels=sys.maxsize, max_side_px=sys.maxsize
)
"""For an image that has been segmented: it was within the limits of whoever did that."""

_Key = tuple[str, int | None]
"""By what a line is known: file and page."""


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
            _write(self._folder / f"{task.name}{PICTURE}", [draw(data, answer)])
        _write(self._folder / f"{task.name}.json", [answer])


class Lines:
    """One line of JSON per image in one file, with the image's path as ``file``.

    Where a page is the image, ``page`` says which.

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
        self._turn = Lock()

    def has(self, task: Task) -> bool:  # noqa: ARG002 - nothing is kept
        """Return False."""
        return False

    def put(self, task: Task, data: bytes, answer: bytes) -> None:  # noqa: ARG002 - no picture here
        """Write one line, in one piece.

        Of standard output without a buffer (PYTHONUNBUFFERED), a call writes what there is room
        for, and those of several threads by turns.
        """
        left = memoryview(_line(task, answer))
        with self._turn:
            while left:
                left = left[self._out.write(left) :]
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


def draw(data: bytes, answer: bytes) -> bytes:
    """Return a PNG of an image with the instances of its answer drawn in.

    A file of one page is that page, whichever page of a stack it says that it was.
    """
    said: dict[str, Any] = orjson.loads(answer)
    # An older server says neither.
    page = said["image"].get("page", 0) if len(Stack(data)) > 1 else 0
    plane = Plane(page, said["image"].get("channel"))
    pixels = decode_image(data, UNLIMITED, plane).pixels
    masks = ((instance["id"], instance["segmentation"]) for instance in said["instances"])
    return overlay_png(pixels, draw_labels(pixels.shape[:2], masks))


def _write(path: Path, parts: Iterable[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part, part.open("wb") as file:
        file.writelines(parts)
