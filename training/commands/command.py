"""What a command line is made of, and how commands speak."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console

console = Console(soft_wrap=True, highlight=False)
errors = Console(stderr=True, soft_wrap=True, highlight=False)


def tell(error: Exception) -> None:
    """Print what went wrong, for the user."""
    errors.print(str(error), style="red", markup=False)


def positive(text: str) -> int:
    """Read an argument that counts something: a whole number above 0.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is anything else.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


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
