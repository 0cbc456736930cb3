"""The network compiled for the machine that trains it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


class CompileError(RuntimeError):
    """The network could not be compiled here."""


@contextmanager
def compiled(network: nn.Module, *, when: bool) -> Iterator[None]:
    """Compile a network in place, at its first call inside.

    Parameters
    ----------
    network : Module
        Keeps its parameters, and their names.
    when : bool
        Leave it as it is when false.

    Raises
    ------
    CompileError
        If there is no compiler, or it fails.
    """
    if not when:
        yield
        return
    # Takes as long to import as PyTorch itself, and few runs need it.
    from torch._dynamo.exc import BackendCompilerFailed

    network.compile()
    try:
        yield
    except BackendCompilerFailed as error:
        reason = str(error).partition("\n")[0]
        raise CompileError(
            f"optim.compile: {reason}; install a compiler (g++) or leave the setting out"
        ) from error
