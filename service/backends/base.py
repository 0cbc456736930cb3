"""What the pipeline asks of a backend, whichever it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, runtime_checkable

import numpy.typing as npt

from service.arrays import UInt8
from service.domain import Deadline, Priority
from service.recipe import Recipe

CALL_PIXELS: Final = 2**19
"""Pixels up to which small images share a call; beyond, a batch gains little (docs/TRITON.md)."""


@dataclass(frozen=True, slots=True)
class Model:
    """One version of a model that a backend serves.

    Parameters
    ----------
    name, version : str
        As the repository names them; the version is a number in decimal.
    recipe : Recipe
        From the model's configuration.
    max_batch : int
        Images per call at most, 1 when the model does not batch.
    channels : mapping of str to int
        Maps per image of every output; -1 where the configuration leaves it open.
    """

    name: str
    version: str
    recipe: Recipe
    max_batch: int = 1
    channels: Mapping[str, int] = field(default_factory=dict)

    def images_per_call(self, pixels: int) -> int:
        """Return how many images of so many pixels each go through the network in one call."""
        return max(1, min(CALL_PIXELS // pixels, self.max_batch))


@dataclass(frozen=True, slots=True)
class CallContext:
    """What travels with a call besides its tensors.

    Parameters
    ----------
    request_id : str
        The gateway's id of the request, for the server's log.
    deadline : Deadline
        When the answer stops being of use.
    headers : mapping of str to str
        Trace context (``traceparent``, ``tracestate``) to pass on.
    priority : Priority
        Whether somebody waits for the answer.
    sizes : sequence of (int, int)
        Height and width of each image without its padding, for a server that clusters
        (`service.signature.SIZES`); empty: none is padded.
    """

    request_id: str
    deadline: Deadline
    headers: Mapping[str, str] = field(default_factory=dict)
    priority: Priority = Priority.INTERACTIVE
    sizes: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True, slots=True)
class Outputs:
    """The tensors of one call and what they cost.

    Parameters
    ----------
    tensors : mapping of str to array
        By name, batch axis first, names, dtypes and shapes as `service.signature` promises.
    bytes_in, bytes_out : int
        Payload moved to and from the server, 0 in process.
    """

    tensors: Mapping[str, npt.NDArray[Any]]
    bytes_in: int = 0
    bytes_out: int = 0


class Backend(Protocol):
    """A place where networks run, named ``<Kind>Backend``: metrics call it ``<kind>``."""

    async def start(self) -> None:
        """Open channels or sessions.

        Raises
        ------
        BackendUnavailable, ArtefactError
            If the server cannot be reached, or a model folder cannot be served.
        """

    async def models(self) -> Sequence[Model]:
        """Return every model version that is ready to serve now.

        Raises
        ------
        BackendUnavailable
            If the server cannot be asked.
        """

    async def model(self, name: str, version: str | None = None) -> Model:
        """Return one model, the newest ready version when `version` is None.

        Every request asks: a backend keeps for a moment what its server says.

        Raises
        ------
        ModelNotFound
            If there is none of that name and version.
        BackendUnavailable
            If the server cannot be asked.
        """

    async def ready(self) -> bool:
        """Return whether the server answers and can take calls; never raises, bounded in time."""

    async def infer(self, images: UInt8, model: Model, context: CallContext) -> Outputs:
        """Run the network.

        Parameters
        ----------
        images : (N, H, W, 3) uint8
            N at most `model.max_batch`; H and W multiples of the recipe's ``size_multiple``.
        model : Model
            From `model` or `models`.
        context : CallContext
            Request id, deadline, trace context.

        Raises
        ------
        BackendUnavailable, BackendFailed, DeadlineExceeded, ModelNotFound, OutOfMemory
            The complete list; a backend translates everything else.
        """

    async def aclose(self) -> None:
        """Close everything; safe to call twice."""


@runtime_checkable
class ModelControl(Protocol):
    """A backend that loads and unloads models when it is told to."""

    async def load(self, name: str) -> None:
        """Load a model, or load it anew; what was there serves until the new one is ready.

        Raises
        ------
        ModelNotFound, BackendFailed
            If there is none, or it cannot be loaded; what was there keeps serving. A server may not
            tell the one from the other.
        BackendUnavailable
            If the server does not answer, or does not let itself be told.
        """

    async def unload(self, name: str) -> None:
        """Unload every version of a model; one that is not there is no error.

        So a version that answers wrongly does not stay as the one before the next.

        Raises
        ------
        BackendUnavailable
            As for `load`.
        """
