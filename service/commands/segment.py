"""``discern segment``: image files in, answers out; takes up where it was interrupted."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.api.schemas import ALL, Format
from service.commands.options import add_server, add_settings, answering
from service.errors import DiscernError
from service.files.segmenting import Outcome, segment_files
from service.files.sinks import Folder, Lines, Sink, Stream
from service.files.tasks import Task, by_page, find_images
from service.settings import Settings
from service.telemetry.logs import configure_logging

STANDARD_OUTPUT: Final = Path("-")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "segment", help="segment image files: an answer, and if wanted a picture, per image"
    )
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="files, folders, quoted patterns; - reads one image from standard input",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--out", type=Path, metavar="DIR", help="a JSON file and a picture per image"
    )
    where.add_argument(
        "--jsonl",
        type=Path,
        metavar="FILE",
        help="one line of JSON per image; - writes to standard output",
    )
    parser.add_argument("--no-pictures", action="store_true", help="with --out: only the JSON")
    parser.add_argument("--again", action="store_true", help="also what is answered already")
    add_server(parser)
    add_settings(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Carry the command out and return the exit status."""
    configure_logging("warning", settings.log_format)
    try:
        if arguments.images == ["-"]:
            return _standard_input(arguments, settings)
        tasks = find_images(arguments.images)
        if arguments.page == ALL:
            tasks = by_page(tasks)
        elif arguments.page is not None:
            tasks = [replace(task, page=arguments.page) for task in tasks]
        arguments.page = None  # of a page, there is only the first
        with ExitStack() as stack:
            sink = _sink(arguments, stack)
            return _segment(arguments, settings, tasks, sink)
    except BrokenPipeError:
        raise  # whatever nobody reads on ends as every command does
    except (DiscernError, OSError) as error:
        print(f"discern: {error}", file=sys.stderr)
        return 1


def _sink(arguments: argparse.Namespace, stack: ExitStack) -> Sink:
    if arguments.out:
        return Folder(arguments.out, pictures=not arguments.no_pictures)
    if arguments.jsonl is None:
        raise DiscernError("say where the answers go: --out DIR or --jsonl FILE")
    if arguments.jsonl == STANDARD_OUTPUT:
        return Stream(sys.stdout.buffer)
    if arguments.jsonl.exists() and not arguments.jsonl.is_file():  # a pipe or a device
        return Stream(stack.enter_context(arguments.jsonl.open("wb")))
    lines = Lines(arguments.jsonl)
    stack.callback(lines.close)
    return lines


def _segment(
    arguments: argparse.Namespace, settings: Settings, tasks: Sequence[Task], sink: Sink
) -> int:
    todo = [task for task in tasks if arguments.again or not sink.has(task)]
    if len(todo) < len(tasks):
        answered = f"{len(tasks) - len(todo)} of {len(tasks)} are answered already"
        print(f"{answered}, whatever they were asked with (--again asks anew)", file=sys.stderr)
    outcomes: list[Outcome] = []
    try:
        if todo:
            _run(arguments, settings, todo, sink, outcomes)
    except KeyboardInterrupt:
        done = sum(outcome.problem is None for outcome in outcomes)
        print(f"stopped after {done} of {len(todo)}; say it again to go on", file=sys.stderr)
        return 130
    failed = [outcome for outcome in outcomes if outcome.problem]
    for outcome in failed:
        page = "" if outcome.page is None else f", page {outcome.page}"
        print(f"discern: {outcome.path}{page}: {outcome.problem}", file=sys.stderr)
    found = sum(outcome.instances for outcome in outcomes)
    said = f"{len(outcomes) - len(failed)} images, {found} instances"
    if isinstance(sink, Stream):
        print(said, file=sys.stderr)
    else:
        print(f"{said}, in {arguments.out or arguments.jsonl}")
    return 1 if failed else 0


def _run(
    arguments: argparse.Namespace,
    settings: Settings,
    todo: Sequence[Task],
    sink: Sink,
    outcomes: list[Outcome],
) -> None:
    columns = (
        TextColumn("segmenting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    )  # fmt: skip
    with (
        answering(arguments, settings, Format.RLE, images=len(todo)) as (answer, at_once),
        Progress(*columns, console=Console(stderr=True)) as progress,
    ):
        bar = progress.add_task("", total=len(todo))
        for outcome in segment_files(todo, answer, sink, at_once=at_once):
            outcomes.append(outcome)
            progress.advance(bar)


def _standard_input(arguments: argparse.Namespace, settings: Settings) -> int:
    data = sys.stdin.buffer.read()
    with answering(arguments, settings, Format.RLE) as (answer, _):
        sys.stdout.buffer.write(answer(data) + b"\n")
    return 0
