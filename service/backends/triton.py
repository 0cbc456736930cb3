"""The network on Triton servers, over gRPC, with shared memory where they are on this host."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import grpc
import numpy as np
from tritonclient.grpc import service_pb2

from service.arrays import UInt8
from service.backends.base import CallContext, Model, Outputs
from service.backends.shared_memory import FOLDER
from service.backends.tensors import check_outputs
from service.backends.triton_calls import Call, Tensors, call_by_memory, call_by_wire
from service.backends.triton_errors import is_not_ready, translate
from service.backends.triton_memory import Lease, SharedMemory
from service.backends.triton_models import Catalogue
from service.backends.triton_servers import PROBE_TIMEOUT_S, Server, Servers
from service.domain import Deadline
from service.errors import ModelNotFound

LOAD_TIMEOUT_S = 120.0


class TritonBackend:
    """Models on one Triton server or several equal ones.

    Parameters
    ----------
    addresses : sequence of str
        ``host:port`` of every server's gRPC endpoint.
    wait_s : float
        How long a call waits for a server when none is connected.
    shared_memory_bytes : int
        Shared memory for tensors at most; 0 sends them by gRPC.
    shared_memory_folder : Path
        Where this process sees the host's shared memory.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        wait_s: float = 3.0,
        shared_memory_bytes: int = 0,
        shared_memory_folder: Path = FOLDER,
    ) -> None:
        self._servers = Servers(addresses, wait_s=wait_s)
        self._catalogue = Catalogue(self._servers)
        self._memory = (
            SharedMemory(self._servers, shared_memory_bytes, shared_memory_folder)
            if shared_memory_bytes
            else None
        )

    async def start(self) -> None:
        """Open the channels.

        A server that is down is no error here: `ready` tells, and calls wait for it.
        """
        self._servers.open()
        with contextlib.suppress(grpc.aio.AioRpcError, TimeoutError):
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await asyncio.gather(*(s.until_live(PROBE_TIMEOUT_S) for s in self._servers.all))
        if self._memory:
            await self._memory.start()

    async def models(self) -> Sequence[Model]:
        """Return every model version that is ready.

        Raises
        ------
        BackendUnavailable
            If no server answers.
        """
        return await self._catalogue.models()

    async def model(self, name: str, version: str | None = None) -> Model:
        """Return one model, the newest ready version when `version` is None.

        Raises
        ------
        ModelNotFound
            If there is none of that name and version.
        BackendUnavailable
            If no server answers.
        """
        return await self._catalogue.find(name, version)

    async def ready(self) -> bool:
        """Return whether a server says it is ready; within about a second."""
        asked = [asyncio.create_task(_is_ready(server)) for server in self._servers.all]
        try:
            for answer in asyncio.as_completed(asked):
                if await answer:
                    return True
            return False
        finally:
            for task in asked:
                task.cancel()

    async def infer(self, images: UInt8, model: Model, context: CallContext) -> Outputs:
        """Run the network on one of the servers.

        Raises
        ------
        BackendUnavailable, BackendFailed, DeadlineExceeded, ModelNotFound
            The complete list.
        """
        call = Call(np.ascontiguousarray(images), model, context)
        lease = self._memory.lease(call.images, model) if self._memory else None
        try:
            tensors = await self._servers.call(context.deadline, self._transport(call, lease))
            check_outputs(tensors, model, images.shape)
        except BaseException as error:  # a cancelled call gives its memory back too
            if self._memory and lease:
                self._memory.finish(lease)
            if isinstance(error, ModelNotFound) or is_not_ready(error.__cause__):
                self._catalogue.forget()
            raise
        if self._memory and lease:
            self._memory.hand_over(lease, tensors)
        bytes_out = sum(array.nbytes for array in tensors.values())
        return Outputs(tensors, images.nbytes, bytes_out)

    async def load(self, name: str) -> None:
        """Load a model, or load it anew, on every server; the old version serves meanwhile.

        Raises
        ------
        BackendFailed
            If a server cannot load it; what it had keeps serving.
        BackendUnavailable
            If a server does not answer, or was started without explicit model control.
        """
        await self._control("RepositoryModelLoad", name)

    async def unload(self, name: str) -> None:
        """Unload a model on every server; one that is not there is no error.

        Raises
        ------
        BackendUnavailable
            If a server does not answer, or was started without explicit model control.
        """
        await self._control("RepositoryModelUnload", name)

    async def aclose(self) -> None:
        """Give the memory back and close the channels."""
        if self._memory:
            await self._memory.aclose()
        await self._servers.aclose()

    async def _control(self, call: str, name: str) -> None:
        request = getattr(service_pb2, f"{call}Request")(model_name=name)
        try:
            for server in self._servers.all:
                await getattr(server.stub, call)(request, timeout=LOAD_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise translate(error, Deadline.after(LOAD_TIMEOUT_S)) from error
        finally:
            self._catalogue.forget()

    def _transport(self, call: Call, lease: Lease | None) -> Callable[[Server], Awaitable[Tensors]]:
        if self._memory is None or lease is None:
            return partial(call_by_wire, call)
        return partial(call_by_memory, call, self._memory, lease)


async def _is_ready(server: Server) -> bool:
    request = service_pb2.ServerReadyRequest()
    try:
        reply = await server.stub.ServerReady(request, timeout=PROBE_TIMEOUT_S, wait_for_ready=True)
    except grpc.aio.AioRpcError:
        return False
    return bool(reply.ready)
