"""Calls whose tensors lie in shared memory: written once by us, answered in place by the server.

A region is used again once both sides have surely let go of it. On our side that is when the last
array on it is gone, wherever it went: a worker may still read tensors whose request has given up.
On the other side, Triton goes on with a call that its client has left, and refuses to unregister a
region while a call uses it; so the region of an abandoned call loses its name at once and is
unregistered as soon as the server agrees. So is one that made room for a larger one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import weakref
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
import numpy.typing as npt
from tritonclient.grpc import service_pb2

from service import signature
from service.arrays import UInt8
from service.backends.base import Model
from service.backends.shared_memory import FOLDER, PREFIX, Region, RegionPool, remove_stale
from service.backends.tensors import DTYPES, output_shape
from service.backends.triton_servers import PROBE_TIMEOUT_S, Server, Servers
from service.backends.triton_wire import Slot

SWEEP_S: Final = 0.5
_ALIGNMENT: Final = 64  # a cache line, and enough for any dtype

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Lease:
    """A region for one call, with a place for every tensor.

    Parameters
    ----------
    region : Region
        The memory.
    slots : mapping of str to Slot
        By tensor name.
    tainted : bool
        Whether a server may write to it after the call.
    readers : int
        Arrays that still look at it.
    """

    region: Region
    slots: Mapping[str, Slot]
    tainted: bool = False
    readers: int = 0

    def part(self, name: str) -> UInt8:
        """Return the bytes of one tensor."""
        slot = self.slots[name]
        return self.region.data[slot.offset : slot.offset + slot.size_bytes]

    def outputs(self) -> dict[str, memoryview]:
        """Return the bytes of every output."""
        # As memoryviews: an array made from an array would hang on the whole region's array, and
        # `SharedMemory.hand_over` could not see it go.
        return {name: self.part(name).data for name in self.slots if name != signature.IMAGE}


class SharedMemory:
    """Shared memory between this process and the servers on this host.

    Parameters
    ----------
    servers : Servers
        Each is told of the regions that it is about to use.
    limit_bytes : int
        The regions take no more than this together.
    folder : Path
        Where they lie, as this process sees it.
    """

    def __init__(self, servers: Servers, limit_bytes: int, folder: Path = FOLDER) -> None:
        self._servers = servers
        self._folder = folder
        self._pool = RegionPool(limit_bytes, folder, on_discard=self._sweep_soon)
        self._dropped: deque[Lease] = deque()  # one entry per array that is gone, by any thread
        self._sweeper: asyncio.Task[None] | None = None
        self._nameless = False

    async def start(self) -> None:
        """Clean up after gateways that are gone, and try every server that answers."""
        removed = remove_stale(self._folder)
        if removed:
            _log.info("removed %d shared memory regions of a gateway that is gone", len(removed))
        probe = self._pool.lease(1)
        if probe is None:
            _log.warning("no room in %s; tensors travel by gRPC", self._folder)
            return
        for server in self._servers.all:
            with contextlib.suppress(grpc.aio.AioRpcError):  # one that is down is tried when used
                await self._attach(server, probe)
        self._pool.give_back(probe)
        self._sweep_soon()

    def lease(self, images: UInt8, model: Model) -> Lease | None:
        """Return a region with the images in it; None when there is no room, or nobody to share."""
        if all(server.shares_memory is False for server in self._servers.all):
            return None
        self._collect()
        recipe = model.recipe
        sizes = {signature.IMAGE: images.nbytes}
        for spec in recipe.outputs:
            channels = model.channels.get(spec.name, -1)
            shape = output_shape(spec.name, channels, images.shape, recipe.stride)
            sizes[spec.name] = math.prod(shape) * DTYPES[spec.dtype].itemsize
        if min(sizes.values()) <= 0:  # a size that the configuration leaves open
            return None
        offsets = {}
        end = 0
        for name, size_bytes in sizes.items():
            offsets[name] = end
            end += -(-size_bytes // _ALIGNMENT) * _ALIGNMENT
        region = self._pool.lease(end)
        if region is None:
            return None
        lease = Lease(
            region,
            {name: Slot(region.name, offsets[name], size) for name, size in sizes.items()},
        )
        np.copyto(lease.part(signature.IMAGE).reshape(images.shape), images)
        return lease

    async def attach(self, server: Server, lease: Lease) -> bool:
        """Tell a server of a region; False when it cannot see this host's memory."""
        return await self._attach(server, lease.region)

    def hand_over(self, lease: Lease, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take the region back when the last array on it, view or not, is gone."""
        # NumPy hangs views of a view on the first array, the one that reads the buffer.
        roots = [array.base for array in tensors.values() if isinstance(array.base, np.ndarray)]
        lease.readers = len(roots)
        if not roots:  # sent by wire after all, and copied
            self.finish(lease)
        for root in roots:
            weakref.finalize(root, self._dropped.append, lease)

    def finish(self, lease: Lease) -> None:
        """Take a region back: into the pool, or out of use when a server may still write."""
        if lease.tainted:
            self._pool.discard(lease.region)
        else:
            self._pool.give_back(lease.region)

    async def aclose(self) -> None:
        """Remove the regions, and have the servers that answer let go of them."""
        self._collect()
        self._pool.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self._sweep()

    async def _attach(self, server: Server, region: Region) -> bool:
        if server.shares_memory is False:
            return False
        if region.name in server.regions:
            return True
        request = service_pb2.SystemSharedMemoryRegisterRequest(
            name=region.name, key=f"/{region.name}", byte_size=region.data.nbytes
        )
        try:
            await server.stub.SystemSharedMemoryRegister(request, timeout=PROBE_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.INTERNAL:
                server.shares_memory = False
                _log.warning(
                    "Triton at %s cannot open this host's shared memory (same host, same user, "
                    "same %s?); its tensors travel by gRPC: %s",
                    server.address, self._folder, error.details(),
                )  # fmt: skip
                return False
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:  # busy: not this time
                return False
            if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
                raise
        server.regions.add(region.name)
        server.shares_memory = True
        return True

    def _collect(self) -> None:
        while self._dropped:
            lease = self._dropped.popleft()
            lease.readers -= 1
            if lease.readers == 0:
                self.finish(lease)

    def _sweep_soon(self) -> None:
        self._nameless = True
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.create_task(self._sweep_until_clean())

    async def _sweep_until_clean(self) -> None:
        while self._nameless:
            self._nameless = False  # a region discarded from here on is another round's
            if await self._sweep():
                self._nameless = True
                await asyncio.sleep(SWEEP_S)

    async def _sweep(self) -> bool:
        """Have the servers let go of regions without a name; True while some are in use."""
        busy = False
        for server in self._servers.all:
            if server.shares_memory:
                with contextlib.suppress(grpc.aio.AioRpcError):  # gone: so are its mappings
                    busy |= await self._release_nameless(server)
        return busy

    async def _release_nameless(self, server: Server) -> bool:
        status = await server.stub.SystemSharedMemoryStatus(
            service_pb2.SystemSharedMemoryStatusRequest(), timeout=PROBE_TIMEOUT_S
        )
        busy = False
        for name, region in status.regions.items():
            if name.startswith(PREFIX) and not (self._folder / region.key.lstrip("/")).exists():
                server.regions.discard(name)
                request: Any = service_pb2.SystemSharedMemoryUnregisterRequest(name=name)
                try:
                    await server.stub.SystemSharedMemoryUnregister(request, timeout=PROBE_TIMEOUT_S)
                except grpc.aio.AioRpcError as error:
                    busy |= error.code() is grpc.StatusCode.INTERNAL  # "currently in use"
        return busy
