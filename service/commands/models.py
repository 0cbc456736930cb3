"""``discern models``: what a repository or a running server offers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from rich.table import Column, Table

from discern.client import Client, DiscernClientError
from service.backends.model_config import is_network, model_from_config, read_folder
from service.commands.options import add_server, calling, print_table
from service.errors import DiscernError
from service.recipe import PARAMETER
from service.settings import Settings


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("models", help="list the models of the repository, or of a server")
    add_server(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Carry the command out and return the exit status."""
    try:
        found = _asked(arguments.url, settings) if arguments.url else _read(settings)
    except (DiscernError, DiscernClientError, OSError) as error:
        print(f"discern: {error}", file=sys.stderr)
        return 1
    heads = ("model", "version", "method", "finds", "vectors", "network")
    table = Table(*(Column(head, overflow="fold") for head in heads))  # nothing is left out
    for model in found:
        mark = " (default)" if model["default"] else ""
        names = ", ".join(entry["name"] for entry in model["classes"])
        table.add_row(
            model["name"] + mark, model["version"], model["method"], names,
            f"{model['embedding_size']} numbers, every {model['stride']} px",
            model["network_sha256"][:12],
        )  # fmt: skip
    print_table(table)
    return 0


def _asked(url: str, settings: Settings) -> Sequence[dict[str, Any]]:
    with Client(url, **calling(settings)) as client:
        return client.models()


def _read(settings: Settings) -> Sequence[dict[str, Any]]:
    """Read the configurations of the repository; no network is loaded."""
    repository = settings.model_repository
    files = sorted(repository.glob("*/config.pbtxt"))
    if not files:
        raise DiscernError(f"{repository} holds no model folder")
    found = []
    for file in files:
        config = read_folder(file.parent)
        if not is_network(config) and PARAMETER not in config.parameters:
            continue  # a stage of others, which nobody asks for
        versions = [path.name for path in file.parent.iterdir() if path.name.isdigit()]
        model = model_from_config(config, max(versions, key=int, default="0"))
        recipe = model.recipe
        found.append(
            {
                "name": model.name,
                "version": model.version,
                "default": model.name == settings.default_model,
                "method": recipe.method,
                "classes": [{"name": entry.name} for entry in recipe.classes],
                "embedding_size": recipe.embedding_size,
                "stride": recipe.stride,
                "network_sha256": recipe.network_sha256,
            }
        )
    return found
