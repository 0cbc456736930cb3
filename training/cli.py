"""The command line of training: which commands there are, and what their errors look like."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch

from service.errors import ArtefactError
from training.commands import (
    ablate,
    card,
    check_repository,
    cluster_on_server,
    compare_networks,
    configure,
    evaluate,
    inspect,
    robustness,
    shrink,
    synthesize,
    table,
    tensorrt,
    train,
    tune,
)
from training.commands import export as export_command
from training.commands.command import Command, positive, tell
from training.config.checks import ConfigError
from training.data.dataset import DataError
from training.deployment import export
from training.loop import checkpoint, compiling, engine, warm_start

DATA = Path("../shared/data/dsb2018")
"""Where the nuclei lie unless --data says otherwise."""

COMMANDS: Final[tuple[Command, ...]] = (
    train.COMMAND,
    evaluate.COMMAND,
    robustness.COMMAND,
    ablate.COMMAND,
    compare_networks.COMMAND,
    tune.COMMAND,
    export_command.COMMAND,
    check_repository.COMMAND,
    configure.COMMAND,
    shrink.COMMAND,
    cluster_on_server.COMMAND,
    tensorrt.COMMAND,
    card.COMMAND,
    table.COMMAND,
    inspect.COMMAND,
    synthesize.COMMAND,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        options.run(options)
    except KeyboardInterrupt:  # whoever gave the command knows why it ends
        return 130
    except (
        ArtefactError,
        DataError,
        ConfigError,
        checkpoint.CheckpointError,
        compiling.CompileError,
        engine.NotFinite,
        export.ExportError,
        warm_start.WarmStartError,
        OSError,
    ) as error:
        tell(error)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data", type=Path, default=DATA, help="folder of images/ and labels/")
    common.add_argument("--threads", type=positive, default=torch.get_num_threads())
    for command in COMMANDS:
        own = commands.add_parser(
            command.name, help=command.text, description=command.text, parents=[common]
        )
        own.set_defaults(run=command.run)
        command.add_arguments(own)
    return parser
