"""What a command line is made of, and how commands speak."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console

console = Console(soft_wrap=True, highlight=False)
errors = Console(stderr=True, soft_wrap=True, highlight=False)


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Parameters
    ----------
    name, text : str
        What is typed, and one line that says what it does.
    add_arguments : callable
        Declares its arguments.
    run : callable
        Does it; raises an error whose message is for the user.
    """

    name: str
    text: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]
