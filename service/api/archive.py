"""Images in and answers out as one zip archive."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Final

from service.errors import MalformedRequest, TooLarge
from service.jobs.records import ItemResult

_ENDINGS: Final = {"application/json": ".json", "image/png": ".png", "application/zip": ".zip"}
_PROBLEM: Final = ".problem.json"
_MAX_NAME: Final = 2**16 - 1 - len(f"/9999{_PROBLEM}")
"""Bytes of a name, so that the answer to it, or to a page of it, has one too."""
_ENTRY: Final = b"PK\x01\x02"
"""What every entry of an archive's directory begins with."""
_PIECE: Final = 2**20
_BOUNDED: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Methods of which `zipfile` unpacks no more than it is asked for; of bzip2 a kilobyte can become
gigabytes at once."""
_DAMAGE: Final = (
    *(zipfile.BadZipFile, EOFError, OSError, ValueError),  # the directory, or where it points
    zlib.error,  # packed data
    RuntimeError,  # a password, or, as its NotImplementedError, encryption and newer formats
)
"""What `zipfile` lets through over an archive that it cannot read."""


class Archive:
    """The images of an archive, of which all that is in it is known before any is unpacked.

    Folders and hidden files are left out.

    Parameters
    ----------
    data : bytes
        The archive.
    max_bytes : int
        Largest size of its images together, unpacked.
    max_files : int
        Most images.

    Attributes
    ----------
    unpacked_bytes : int
        How large its images say they are; more than that does not come out of it.

    Raises
    ------
    MalformedRequest
        If it is no archive, holds no image, or one that cannot be read or named in an answer.
    TooLarge
        If it holds more images, or larger ones; or if its directory is far longer than that, with
        folders and hidden files.
    """

    def __init__(self, data: bytes, *, max_bytes: int, max_files: int) -> None:
        _check_entries(data, max_files)
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except _DAMAGE as error:
            raise MalformedRequest("the archive cannot be read") from error
        self._entries = [entry for entry in self._zip.infolist() if _is_wanted(entry.filename)]
        self.unpacked_bytes = sum(entry.file_size for entry in self._entries)
        if not self._entries:
            raise MalformedRequest("the archive holds no image")
        if len(self._entries) > max_files:
            raise TooLarge(f"the archive holds more than {max_files} images", limit=max_files)
        if self.unpacked_bytes > max_bytes:
            raise TooLarge(f"the images are larger than {max_bytes} bytes", limit=max_bytes)
        if any(len(entry.filename.encode()) > _MAX_NAME for entry in self._entries):
            raise MalformedRequest("the name of an image is too long")
        if any(entry.compress_type not in _BOUNDED for entry in self._entries):
            raise MalformedRequest("the archive is packed with another method than Deflate")

    def images(self) -> tuple[tuple[str, bytes], ...]:
        """Return the images by name.

        Raises
        ------
        MalformedRequest
            If one cannot be read.
        """
        try:
            return tuple((entry.filename, self._unpack(entry)) for entry in self._entries)
        except _DAMAGE as error:
            raise MalformedRequest("the archive cannot be read") from error

    def _unpack(self, entry: zipfile.ZipInfo) -> bytes:
        with self._zip.open(entry) as file:
            return file.read(entry.file_size)  # without a number it unpacks first, and cuts then


def zip_results(results: Iterable[ItemResult]) -> bytes:
    """Return the answers of a job as an archive: each under the name of its image."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for result in results:
            ending = _ENDINGS.get(result.media_type, _PROBLEM)
            archive.writestr(result.name + ending, result.body)
    return buffer.getvalue()


def _check_entries(data: bytes, max_files: int) -> None:
    """Refuse very many entries before `zipfile` makes an object of each, ten times as large.

    What an archive says of their number is hearsay, so the beginnings of entries are counted
    wherever they stand: never too few. The bound leaves room for folders, for the hidden files that
    some systems add to each, and for what images hold by chance.
    """
    limit = 8 * max_files + 1000
    # In pieces that overlap by less than a beginning: no other thread runs while one is searched.
    pieces = range(0, len(data), _PIECE)
    found = sum(data.count(_ENTRY, at, at + _PIECE + len(_ENTRY) - 1) for at in pieces)
    if found > limit:
        raise TooLarge(f"the archive holds more than {limit} entries", limit=limit)


def _is_wanted(name: str) -> bool:
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
    return not (name.endswith("/") or hidden)
