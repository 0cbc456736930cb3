"""``discern view``: what the network saw in an image and what was found, side by side."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from service.api.schemas import Format
from service.commands.options import add_server, add_settings, answering
from service.errors import DiscernError
from service.settings import Settings
from service.telemetry.logs import configure_logging


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "view", help="draw input, foreground, embedding and instances of an image side by side"
    )
    parser.add_argument("image", type=Path, metavar="IMAGE")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: IMAGE.view.png, here")
    add_server(parser)
    add_settings(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Carry the command out and return the exit status."""
    configure_logging("warning", settings.log_format)
    out = arguments.out or Path(f"{arguments.image.stem}.view.png")
    try:
        data = arguments.image.read_bytes()
        with answering(arguments, settings, Format.PANELS_PNG) as (answer, _):
            out.write_bytes(answer(data))
    except (DiscernError, OSError) as error:
        print(f"discern: {error}", file=sys.stderr)
        return 1
    print(out)
    return 0
