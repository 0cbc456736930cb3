"""The command line: ``discern serve`` (the default), ``discern segment``."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress

from service.api.auth import make_key
from service.app import create_app
from service.errors import DiscernError
from service.files import Outcome, running_gateway, segment_files
from service.postprocess.extract import ExtractOptions
from service.server import create_server
from service.settings import Settings
from service.telemetry.logs import configure_logging


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; those of the process when None.
    """
    arguments = _parser().parse_args(argv)
    try:
        settings = Settings()
    except ValidationError as error:
        for item in error.errors():
            name = "DISCERN_" + "_".join(str(part) for part in item["loc"]).upper()
            print(f"discern: {name}: {item['msg']}", file=sys.stderr)
        return 2
    if arguments.command == "key":
        return _key(arguments.name)
    if arguments.command == "segment":
        return _segment(arguments, settings)
    return _serve(settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="discern",
        description="Instance segmentation over HTTP. Its settings are the variables DISCERN_*.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("serve", help="start the gateway (the default)")
    segment = commands.add_parser(
        "segment", help="segment image files here, without HTTP: an answer and a picture per image"
    )
    segment.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    segment.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write")
    segment.add_argument("--model", help="name of the model (default: DISCERN_DEFAULT_MODEL)")
    segment.add_argument("--bandwidth", type=float, help="clustering radius, in embedding units")
    segment.add_argument("--foreground-threshold", type=float, help="probability, in (0, 1)")
    segment.add_argument("--min-area", type=int, help="smallest instance, in pixels")
    segment.add_argument("--min-score", type=float, default=0.0, help="lowest score, in [0, 1]")
    key = commands.add_parser("key", help="make an API key, and its line for the file of keys")
    key.add_argument("name", metavar="NAME", help="whose key it is; appears in logs and metrics")
    return parser


def _key(name: str) -> int:
    try:
        key, line = make_key(name)
    except DiscernError as error:
        print(f"discern: {error}", file=sys.stderr)
        return 2
    print(f"The key, shown only this once:\n  {key}\nThe line for DISCERN_API_KEYS_FILE:\n  {line}")
    return 0


def _serve(settings: Settings) -> int:
    configure_logging(settings.log_level, settings.log_format)
    try:
        app = create_app(settings)
    except DiscernError as error:
        print(f"discern: {error}", file=sys.stderr)
        return 2
    server = create_server(app, settings, on_ready=_announce)
    server.run()
    return 0 if server.started and not app.state.gateway.lifecycle.failed else 1


def _announce(address: str) -> None:
    print(
        f"Discern is ready at {address}  (API: {address}/docs)\n"
        f"Try it: curl -F image=@examples/nuclei.png '{address}/segment'",
        flush=True,
    )


def _segment(arguments: argparse.Namespace, settings: Settings) -> int:
    configure_logging("warning", settings.log_format)
    options = ExtractOptions(
        bandwidth=arguments.bandwidth,
        foreground_threshold=arguments.foreground_threshold,
        min_area=arguments.min_area,
        min_score=arguments.min_score,
    )
    model = arguments.model or settings.default_model
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
        outcomes = asyncio.run(_run(settings, arguments.images, arguments.out, model, options))
    except (DiscernError, OSError) as error:
        print(f"discern: {error}", file=sys.stderr)
        return 1
    failed = [outcome for outcome in outcomes if outcome.problem]
    for outcome in failed:
        print(f"discern: {outcome.path}: {outcome.problem}", file=sys.stderr)
    found = sum(outcome.instances for outcome in outcomes)
    print(f"{len(outcomes) - len(failed)} images, {found} instances, in {arguments.out}")
    return 1 if failed else 0


async def _run(
    settings: Settings, images: Sequence[Path], out: Path, model: str, options: ExtractOptions
) -> list[Outcome]:
    async with running_gateway(settings) as gateway:
        with Progress(console=Console(stderr=True)) as progress:
            bar = progress.add_task("segmenting", total=len(images))

            def count(outcome: Outcome) -> Outcome:
                progress.advance(bar)
                return outcome

            results = segment_files(gateway, images, out, model=model, options=options)
            return [count(outcome) async for outcome in results]
