"""Archives: how much of one is looked at before it is refused."""

from __future__ import annotations

import io
import tracemalloc
import zipfile

import pytest

from service.api.archive import Archive, zip_results
from service.errors import MalformedRequest, TooLarge
from service.jobs.records import ItemResult


def archive(names: list[str], content: bytes = b"", compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as zipped:
        for name in names:
            zipped.writestr(name, content)
    return buffer.getvalue()


def unzip(data: bytes, *, max_bytes: int, max_files: int) -> tuple[tuple[str, bytes], ...]:
    return Archive(data, max_bytes=max_bytes, max_files=max_files).images()


def test_very_many_entries_are_refused_before_an_object_is_made_of_each() -> None:
    data = archive([f".{number}" for number in range(5000)])
    tracemalloc.start()
    with pytest.raises(TooLarge, match="1016 entries"):
        unzip(data, max_bytes=2**20, max_files=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < len(data) / 4


def test_folders_and_hidden_files_do_not_count_as_images() -> None:
    hidden = [f"__MACOSX/{number}" for number in range(500)]
    data = archive(["a/", "a/1.png", *hidden, "a/2.png"], b"x")
    files = unzip(data, max_bytes=2**20, max_files=2)
    assert [name for name, _ in files] == ["a/1.png", "a/2.png"]


def test_entries_are_counted_across_pieces() -> None:
    beginnings = b"PK\x01\x02" * (2**20 // 4)  # one lies across every 2^20 bytes
    for shift in range(4):
        data = archive(["a.png"], bytes(shift) + beginnings)
        assert unzip(data, max_bytes=2**22, max_files=len(beginnings) // 32)
        with pytest.raises(TooLarge, match="entries"):
            unzip(data, max_bytes=2**22, max_files=(len(beginnings) // 4 - 1000) // 8)


def test_a_name_that_is_taken_leaves_room_for_the_ending_of_its_answer() -> None:
    longest = 2**16 - 1 - len("/9999.problem.json")
    ((name, _),) = unzip(archive(["n" * longest], b"x"), max_bytes=9, max_files=1)
    page = f"{name}/9999"
    answers = zip_results([ItemResult(page, 500, "application/problem+json", b"{}")])
    with zipfile.ZipFile(io.BytesIO(answers)) as zipped:
        assert zipped.namelist() == [page + ".problem.json"]
    with pytest.raises(MalformedRequest, match="name"):
        unzip(archive(["n" * (longest + 1)], b"x"), max_bytes=9, max_files=1)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_without_bound_are_refused(compression: int) -> None:
    data = archive(["a.png"], bytes(2**24), compression)
    tracemalloc.start()
    with pytest.raises(MalformedRequest, match="Deflate"):
        unzip(data, max_bytes=2**20 * 32, max_files=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_an_archive_that_says_it_is_small_unpacks_no_further() -> None:
    size = 2**24
    data = archive(["a.png"], bytes(size), zipfile.ZIP_DEFLATED)
    lie = data.replace(size.to_bytes(4, "little"), (100).to_bytes(4, "little"))
    tracemalloc.start()
    with pytest.raises(MalformedRequest, match="cannot be read"):
        unzip(lie, max_bytes=2**25, max_files=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20
