"""Which files a command takes, where answers go, and that an interrupted run loses nothing."""

from __future__ import annotations

import io
import os
from pathlib import Path
from threading import Thread
from typing import Any, BinaryIO, cast

import numpy as np
import orjson
import pytest
from PIL import Image

from service.errors import BrokenImage
from service.files.segmenting import Outcome, segment_files
from service.files.sinks import Folder, Lines, Sink, Stream, draw
from service.files.tasks import Task, _stack, find_images
from service.imaging.stack import Stack
from tests.disk import files_of_at_most
from tests.scenes import draw_scene, png_of, stack_of

PICTURE = png_of(draw_scene(1)[0])
NOTHING = b'{"image":{},"instances":[]}'


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of pictures, one of them below, and a text."""
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    for name in ("a.png", "b.png", "b.jpg", "below/c.TIF", "notes.txt"):
        (folder / name).write_bytes(PICTURE)
    return folder


def test_folders_are_searched_for_images_with_everything_below(pictures: Path) -> None:
    names = [task.name for task in find_images([str(pictures)])]
    assert names == ["a", "b.jpg", "b.png", "below/c"]


def test_patterns_and_names_find_each_file_once(pictures: Path) -> None:
    tasks = find_images([str(pictures / "a.png"), str(pictures / "*.png")])
    assert [task.path.name for task in tasks] == ["a.png", "b.png"]


def test_a_file_is_found_once_however_it_is_spelt(pictures: Path) -> None:
    tasks = find_images([str(pictures / "a.png"), str(pictures / "below/../a.png")])
    assert [task.name for task in tasks] == ["a"]


def test_images_of_one_name_in_two_folders_keep_their_folders(pictures: Path) -> None:
    for name in ("left/cells.png", "right/cells.png", "right/other.png"):
        (pictures / name).parent.mkdir(exist_ok=True)
        (pictures / name).write_bytes(PICTURE)
    tasks = find_images([str(pictures / "left"), str(pictures / "right")])
    assert [task.name for task in tasks] == ["left/cells.png", "right/cells.png", "other"]
    tasks = find_images([str(pictures / "below/../left/cells.png"), str(pictures / "right")])
    assert [task.name for task in tasks] == ["left/cells.png", "right/cells.png", "other"]


def test_a_suffix_that_makes_the_name_of_another_file_is_not_enough(pictures: Path) -> None:
    (pictures / "b.png.jpg").write_bytes(PICTURE)
    tasks = find_images([str(pictures / "b*")])
    assert [task.name for task in tasks] == ["b.jpg", "b.png", "b.png.jpg"]


def test_folders_that_make_the_name_of_another_file_are_not_enough(pictures: Path) -> None:
    for name in ("left/cells.png", "right/cells.png", "left/cells.png.jpg"):
        (pictures / name).parent.mkdir(exist_ok=True)
        (pictures / name).write_bytes(PICTURE)
    named = [str(pictures / folder / "cells.png") for folder in ("left", "right")]
    names = [task.name for task in find_images([*named, str(pictures)])]
    assert len(set(names)) == len(names)


def test_pictures_of_an_earlier_run_are_no_images(pictures: Path) -> None:
    before = find_images([str(pictures)])
    _run(before, Folder(pictures, pictures=True))
    assert find_images([str(pictures)]) == before
    named = pictures / "a.overlay.png"
    assert [task.path for task in find_images([str(named)])] == [named]


def test_a_name_for_nothing_is_an_error(pictures: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find_images([str(pictures / "nowhere*.png")])


def _run(tasks: list[Task], sink: Sink, *, stop_after: int | None = None) -> list[Outcome]:
    """Segment with an answer that fails for empty files; stop as an interrupt would."""

    def answer(data: bytes) -> bytes:
        if not data:
            raise BrokenImage("it is empty")
        return NOTHING

    outcomes = []
    run = segment_files(tasks, answer, sink, at_once=2)
    for outcome in run:
        outcomes.append(outcome)
        if len(outcomes) == stop_after:
            break
    run.close()
    return outcomes


def test_a_file_that_fails_is_reported_and_leaves_nothing(pictures: Path, tmp_path: Path) -> None:
    (pictures / "a.png").write_bytes(b"")
    tasks = find_images([str(pictures / "*.png"), str(pictures / "b.jpg")])
    outcomes = _run(tasks, Folder(tmp_path / "out", pictures=False))
    problems = {outcome.path.name: outcome.problem for outcome in outcomes}
    assert problems == {"a.png": "it is empty", "b.png": None, "b.jpg": None}
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["b.jpg.json", "b.png.json"]


def test_a_file_that_there_is_no_memory_for_is_reported_and_the_others_go_on(
    pictures: Path, tmp_path: Path
) -> None:
    (pictures / "a.png").write_bytes(b"large")

    def answer(data: bytes) -> bytes:
        if data == b"large":
            raise MemoryError
        return NOTHING

    tasks, sink = find_images([str(pictures / "*.png")]), Folder(tmp_path / "out", pictures=False)
    outcomes = segment_files(tasks, answer, sink, at_once=1)
    problems = {outcome.path.name: outcome.problem for outcome in outcomes}
    assert problems == {"a.png": "the image needs more memory than is free", "b.png": None}


def test_pictures_lie_beside_the_answers(pictures: Path, tmp_path: Path) -> None:
    _run(find_images([str(pictures / "a.png")]), Folder(tmp_path / "out", pictures=True))
    assert (tmp_path / "out/a.overlay.png").read_bytes().startswith(b"\x89PNG")


def test_what_was_segmented_is_drawn_whatever_its_size() -> None:
    long = png_of(np.zeros((1, 40_000, 3), np.uint8))  # with DISCERN_MAX_IMAGE_SIDE_PX raised
    answer = (
        b'{"image":{},"instances":[{"id":1,"segmentation":{"size":[1,40000],"counts":[0,40000]}}]}'
    )
    with Image.open(io.BytesIO(draw(long, answer))) as picture:
        assert picture.size == (40_000, 1)


def test_a_stack_that_another_program_cuts_short_ends_nobody(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    path.write_bytes(stack_of(*[np.zeros((200, 200, 3), np.uint8)] * 3))
    with _stack(path) as stack:
        os.truncate(path, 100)
        with pytest.raises(BrokenImage, match="the page is truncated"):
            stack.page(2)


def test_a_file_that_says_it_was_a_page_of_a_stack_is_drawn() -> None:
    page = Stack(stack_of(*[np.zeros((4, 6, 3), np.uint8)] * 3)).page(2)
    with Image.open(io.BytesIO(draw(page, b'{"image":{"page":2},"instances":[]}'))) as picture:
        assert picture.size == (6, 4)


def test_an_interrupted_folder_is_taken_up_without_loss_or_repetition(
    pictures: Path, tmp_path: Path
) -> None:
    tasks = find_images([str(pictures)])
    # Two under way and one that waits: of four files, one is never begun.
    _run(tasks, Folder(tmp_path / "out", pictures=False), stop_after=1)
    again = Folder(tmp_path / "out", pictures=False)
    todo = [task for task in tasks if not again.has(task)]
    assert 0 < len(todo) < len(tasks)
    _run(todo, again)
    assert all(again.has(task) for task in tasks)


def test_interrupted_lines_are_taken_up_without_loss_or_repetition(
    pictures: Path, tmp_path: Path
) -> None:
    tasks, file = find_images([str(pictures)]), tmp_path / "out.jsonl"
    lines = Lines(file)
    _run(tasks[:2], lines)
    lines.close()
    with file.open("ab") as torn:
        torn.write(b'{"file":"cut o')  # the machine went down in mid-write
    again = Lines(file)
    assert [again.has(task) for task in tasks] == [True, True, False, False]
    _run([task for task in tasks if not again.has(task)], again)
    again.close()
    answered = sorted(orjson.loads(line)["file"] for line in file.read_bytes().splitlines())
    assert answered == sorted(str(task.path) for task in tasks)


def test_lines_of_images_that_are_answered_again_replace_the_older_ones_at_the_end(
    pictures: Path, tmp_path: Path
) -> None:
    tasks, file = find_images([str(pictures)]), tmp_path / "out.jsonl"
    for todo in (tasks, tasks[1:3]):
        lines = Lines(file)
        before = file.read_bytes()
        _run(todo, lines)
        assert file.read_bytes().startswith(before)
        lines.close()
    answered = [orjson.loads(line)["file"] for line in file.read_bytes().splitlines()]
    assert sorted(answered) == sorted(str(task.path) for task in tasks)
    assert set(answered[2:]) == {str(task.path) for task in tasks[1:3]}


def test_lines_that_a_killed_run_left_twice_are_put_right(tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    file.write_text('{"file":"a","n":1}\n{"file":"b","n":1}\n{"file":"a","n":2}\n')
    Lines(file).close()
    assert file.read_text() == '{"file":"b","n":1}\n{"file":"a","n":2}\n'


def test_a_name_that_is_no_text_has_its_line_like_any_other(tmp_path: Path) -> None:
    task = Task(Path(os.fsdecode(b"M\xfcller.png")), "as an old archive holds it")
    for _ in range(2):
        lines = Lines(tmp_path / "answers.jsonl")
        had = lines.has(task)
        lines.put(task, PICTURE, NOTHING)
        lines.close()
    assert had
    assert orjson.loads((tmp_path / "answers.jsonl").read_bytes())["file"] == "M\\xfcller.png"


@pytest.mark.parametrize("content", ["notes\n", "[1]\n", '{"index": 0}\n'])
def test_a_file_that_holds_something_else_is_left_alone(tmp_path: Path, content: str) -> None:
    file = tmp_path / "notes.txt"
    file.write_text(content)
    with pytest.raises(FileExistsError, match=r"notes\.txt"):
        Lines(file)
    assert file.read_text() == content


def test_what_finds_no_room_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    task = Task(tmp_path / "a.png", "a")
    task.path.write_bytes(PICTURE)
    with files_of_at_most(100):
        outcomes = list(
            segment_files([task], lambda _: NOTHING, Folder(folder, pictures=True), at_once=1)
        )
    assert [outcome.problem for outcome in outcomes] == ["File too large"]
    assert list(folder.iterdir()) == []


def test_lines_that_are_written_anew_stay_closed_to_others(tmp_path: Path) -> None:
    path, task = tmp_path / "lines", Task(Path("a.png"), "a")
    for _ in range(2):
        lines = Lines(path)
        lines.put(task, b"", NOTHING)
        path.chmod(0o600)
        lines.close()
    assert len(path.read_bytes().splitlines()) == 1
    assert path.stat().st_mode & 0o777 == 0o600


def test_lines_stay_apart_on_a_stream_that_has_no_buffer() -> None:
    written = bytearray()

    class Unbuffered(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            written.extend(data[:20])
            if len(written) <= 20:
                other.start()
                other.join(0.2)  # what would come in between has time to
            return len(data[:20])

    stream = Stream(cast("BinaryIO", Unbuffered()))
    tasks = [Task(Path(name), name) for name in ("first.png", "second.png")]
    other = Thread(target=stream.put, args=(tasks[1], b"", NOTHING))
    stream.put(tasks[0], b"", NOTHING)
    other.join()
    lines = [orjson.loads(line) for line in bytes(written).splitlines()]
    assert [line["file"] for line in lines] == ["first.png", "second.png"]
