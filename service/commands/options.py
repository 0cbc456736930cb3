"""What several commands have in common: the server, the model, the settings of a segmentation."""

from __future__ import annotations

import argparse
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, ParamSpec, TypedDict, TypeVar

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from discern.client import Client, DiscernClientError
from discern.results import Settings as Parameters
from service.api.orders import asked_of
from service.api.schemas import ALL, Format, SegmentQuery
from service.domain import Deadline
from service.errors import DiscernError
from service.files.segmenting import Answer
from service.local import lanes, lanes_for
from service.request import Asked
from service.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

AUTO: Final = "auto"
"""The scale that suits an image."""


UNBOUNDED: Final = 10_000
"""Columns that no table needs."""


class Calling(TypedDict):
    """What every client is told of its calls."""

    api_key: str | None
    timeout_s: float


def add_server(parser: argparse.ArgumentParser) -> None:
    """Add where the work is done."""
    parser.add_argument(
        "--url",
        metavar="URL",
        help="a running server to ask; without it the work is done in this process",
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add what may be asked of a segmentation."""
    parser.add_argument("--model", help="name of the model (default: DISCERN_DEFAULT_MODEL)")
    parser.add_argument("--bandwidth", type=float, help="clustering radius, in embedding units")
    parser.add_argument("--foreground-threshold", type=float, help="probability, in (0, 1)")
    parser.add_argument(
        "--page",
        type=_number_or(ALL, int),
        help="page of a TIFF file, counted from 0; all (segment): every page of every file, with "
        "an answer each, named NAME/PAGE",
    )
    parser.add_argument(
        "--channel",
        type=int,
        help="the one channel that is segmented, as grey, from 0; without it all, as colours",
    )
    parser.add_argument(
        "--scale",
        type=_number_or(AUTO, float),
        help="by how much larger the network sees the image: 0.5 for objects twice as large as "
        "those of the training images; auto: by as much as suits each image",
    )
    parser.add_argument("--min-area", type=int, help="smallest instance, in pixels")
    parser.add_argument("--min-score", type=float, help="lowest score, in [0, 1]")


def _number_or(word: str, number: Callable[[str], T]) -> Callable[[str], T | str]:
    """Return what reads an argument that is a number or that word."""

    def read(text: str) -> T | str:
        if text == word:
            return text
        try:
            return number(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor {word}") from None

    return read


def calling(settings: Settings) -> Calling:
    """Return how a client calls a server; the key comes from ``DISCERN_API_KEY``."""
    return {"api_key": os.environ.get("DISCERN_API_KEY"), "timeout_s": settings.timeout_ms / 1e3}


def print_table(table: Table) -> None:
    """Print a table no wider than the terminal; whole where there is none: programs read it."""
    console = Console()
    if not console.is_terminal:
        console.width = UNBOUNDED
    console.print(table)


@contextmanager
def answering(
    arguments: argparse.Namespace, settings: Settings, wanted: Format, *, images: int = 1
) -> Iterator[tuple[Answer, int]]:
    """Hand over what answers images, here or on a server, and how many at once suit it."""
    parameters = _parameters(arguments)
    if arguments.url:
        with _told(Client, arguments.url, **calling(settings)) as client:
            limits = _told(client.limits)

            def there(data: bytes) -> bytes:
                return _told(client.render, data, wanted.value, **parameters)

            yield there, max(1, int(limits["in_flight"]))
        return
    ask = partial(_asked, _within_bounds(parameters), settings)
    count = lanes_for(images, settings)
    with lanes(settings, wanted, count=count, ask=ask) as here:
        yield here, count


def _parameters(arguments: argparse.Namespace) -> Parameters:
    parameters: Parameters = {}
    for name in (
        "model",
        "page",
        "channel",
        "scale",
        "bandwidth",
        "foreground_threshold",
        "min_area",
        "min_score",
    ):
        if getattr(arguments, name) is not None:
            parameters[name] = getattr(arguments, name)
    return parameters


def _within_bounds(parameters: Parameters) -> SegmentQuery:
    """Read what is asked as a server does; the first that is out of bounds is named."""
    try:
        return SegmentQuery.model_validate(parameters)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-")
        raise DiscernError(f"--{name}: {first['msg']}, not {first['input']}") from error


def _asked(query: SegmentQuery, settings: Settings, deadline: Deadline) -> Asked:
    """Return what is asked of an image in this process."""
    return asked_of(query, settings, request_id=uuid.uuid4().hex, deadline=deadline, headers={})


def _told(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a method of the client; its errors become ours."""
    try:
        return call(*args, **kwargs)
    except DiscernClientError as error:
        raise DiscernError(str(error)) from error
