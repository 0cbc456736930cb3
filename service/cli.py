"""The command line: ``discern serve`` (the default), and what stands in `service.commands`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from service.api.auth import make_key
from service.app import create_app
from service.commands import bench, doctor, models, segment, view
from service.errors import DiscernError
from service.memory import keep_freed_memory, leave_out_of_collections
from service.server import create_server
from service.settings import Settings, unknown_variables
from service.telemetry.logs import configure_logging

_LOG = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; those of the process when None.
    """
    _replace_closed_streams()
    arguments = _parser().parse_args(argv)
    try:
        settings = Settings()
    except ValidationError as error:
        for item in error.errors():
            name = "DISCERN_" + "_".join(str(part) for part in item["loc"]).upper()
            print(f"discern: {name}: {item['msg']}", file=sys.stderr)
        return 2
    keep_freed_memory()
    if arguments.command in (None, "serve"):
        return _serve(settings)
    run: Callable[[argparse.Namespace, Settings], int] = arguments.run
    try:
        status = run(arguments, settings)
        sys.stdout.flush()
    except KeyboardInterrupt:  # whoever gave the command knows why it ends
        return 130
    except OSError as error:  # what it prints finds no room, or nobody who reads on
        print(f"discern: {error}", file=sys.stderr)
        _drop_output()
        return 1
    return status


def _drop_output() -> None:
    """Drop what could not be printed: it would be tried again, and complained of, at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _replace_closed_streams() -> None:
    """Put something in the place of streams that whoever started the process has closed.

    Python has None there, and the next file that is opened would take their number. What is read
    from standard input or written to standard output then fails, as it would in other programs;
    what is said on standard error is lost.
    """
    closed = (("stdin", os.O_WRONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_RDWR, "w"))
    for name, access, mode in closed:
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, access), mode))  # noqa: PTH123, SIM115 - by its number, for as long as the process runs


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="discern",
        description="Instance segmentation over HTTP. Its settings are the variables DISCERN_*.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("serve", help="start the gateway (the default)")
    for command in (segment, models, view, bench, doctor):
        command.add_parser(commands)
    key = commands.add_parser("key", help="make an API key, and its line for the file of keys")
    key.add_argument("name", metavar="NAME", help="whose key it is; appears in logs and metrics")
    key.set_defaults(run=_key)
    return parser


def _key(arguments: argparse.Namespace, _: Settings) -> int:
    try:
        key, line = make_key(arguments.name)
    except DiscernError as error:
        print(f"discern: {error}", file=sys.stderr)
        return 2
    print(f"The key, shown only this once:\n  {key}\nThe line for DISCERN_API_KEYS_FILE:\n  {line}")
    return 0


def _serve(settings: Settings) -> int:
    configure_logging(settings.log_level, settings.log_format)
    for name in unknown_variables():
        _LOG.warning("%s is no setting: nothing reads it", name)
    try:
        app = create_app(settings)
    except DiscernError as error:
        print(f"discern: {error}", file=sys.stderr)
        return 2
    server = create_server(app, settings, on_ready=_announce)
    try:
        server.run()
    except SystemExit as end:  # so uvicorn ends when it cannot listen; only the log says why
        if isinstance(end.__context__, OSError):
            print(f"discern: it cannot listen: {end.__context__}", file=sys.stderr)
        raise
    return 0 if server.started and not app.state.gateway.lifecycle.failed else 1


def _announce(address: str) -> None:
    leave_out_of_collections()
    example = "examples/nuclei.png" if Path("examples/nuclei.png").exists() else "IMAGE"
    try:
        print(
            f"Discern is ready at {address}  (API: {address}/docs)\n"
            f"Try it: curl -F image=@{example} '{address}/segment'",
            flush=True,
        )
    except OSError:  # nobody reads it, and the server serves all the same
        _drop_output()
