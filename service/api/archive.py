"""Images in and answers out as one zip archive."""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Final

from service.errors import MalformedRequest, TooLarge
from service.jobs.records import ItemResult

_ENDINGS: Final = {"application/json": ".json", "image/png": ".png", "application/zip": ".zip"}
_PROBLEM: Final = ".problem.json"
_MAX_NAME: Final = 2**16 - 1 - len(_PROBLEM)
"""Bytes of a name, so that its answer has one too."""
_ENTRY: Final = b"PK\x01\x02"
"""What every entry of an archive's directory begins with."""
_PIECE: Final = 2**20
_DAMAGE: Final = (
    *(zipfile.BadZipFile, EOFError, OSError, ValueError),  # the directory, or where it points
    *(zlib.error, lzma.LZMAError),  # packed data; bzip2's is an OSError
    *(NotImplementedError, RuntimeError),  # another compression, or a password
)
"""What `zipfile` lets through over an archive that it cannot read."""


def unzip(data: bytes, *, max_bytes: int, max_files: int) -> tuple[tuple[str, bytes], ...]:
    """Return the files of an archive by name; folders and hidden files are left out.

    Raises
    ------
    MalformedRequest
        If it is no archive, holds no file, or one that cannot be read or named in an answer.
    TooLarge
        If it holds more files or, unpacked, more bytes; found out before that much is unpacked. Or
        if its directory is far longer than that, with folders and hidden files.
    """
    _check_entries(data, max_files)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [entry for entry in archive.infolist() if _is_wanted(entry.filename)]
            if len(entries) > max_files:
                raise TooLarge(f"the archive holds more than {max_files} images", limit=max_files)
            if any(len(entry.filename.encode()) > _MAX_NAME for entry in entries):
                raise MalformedRequest("the name of an image is too long")
            files, left = [], max_bytes
            for entry in entries:
                with archive.open(entry) as file:
                    content = file.read(left + 1)  # what the archive says of its size is hearsay
                left -= len(content)
                if left < 0:
                    raise TooLarge(f"the images are larger than {max_bytes} bytes", limit=max_bytes)
                files.append((entry.filename, content))
    except _DAMAGE as error:
        raise MalformedRequest("the archive cannot be read") from error
    if not files:
        raise MalformedRequest("the archive holds no image")
    return tuple(files)


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
