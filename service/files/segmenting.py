"""Many files segmented side by side: an answer for each that can be read."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import orjson

from service.errors import DiscernError, OutOfMemory
from service.files.sinks import Sink
from service.files.tasks import Task
from service.memory import was_short

Answer = Callable[[bytes], bytes]
"""From an image file's bytes to the answer of ``POST /segment``, here or on a server."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file or page: the number of instances, or why there is no answer."""

    path: Path
    page: int | None = None
    instances: int = 0
    problem: str | None = None


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
