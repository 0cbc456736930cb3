"""One inference call at one server: over the wire, or through shared memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc
import numpy.typing as npt

from service.arrays import UInt8
from service.backends.base import CallContext, Model
from service.backends.triton_errors import is_settled, is_unknown_region
from service.backends.triton_memory import Lease, SharedMemory
from service.backends.triton_servers import Server
from service.backends.triton_wire import decode_reply, encode_request

_REGISTRATIONS = 2
"""How often one call tells a server of its region before it does without."""

Tensors = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked.

    Parameters
    ----------
    images : (N, H, W, 3) uint8
        The input, contiguous.
    model : Model
        Which network.
    context : CallContext
        Request id, deadline, trace context.
    """

    images: UInt8
    model: Model
    context: CallContext


async def call_by_wire(call: Call, server: Server) -> Tensors:
    """Send the images and receive the outputs."""
    request = encode_request(call.images, call.model, call.context)
    return decode_reply(await _send(call, server, request))


async def call_by_memory(call: Call, memory: SharedMemory, lease: Lease, server: Server) -> Tensors:
    """Have the server read the images from shared memory and write the outputs there.

    Falls back to the wire for a server that cannot see the memory, or does not keep it.
    """
    for _ in range(_REGISTRATIONS):
        if not await memory.attach(server, lease):
            break
        request = encode_request(call.images, call.model, call.context, lease.slots)
        try:
            reply = await _send(call, server, request)
        except grpc.aio.AioRpcError as error:
            if is_unknown_region(error):
                server.regions.discard(lease.region.name)  # it was restarted, or told to forget
                continue
            lease.tainted |= not is_settled(error)
            raise
        except BaseException:  # cancelled: the server may not have noticed yet
            lease.tainted = True
            raise
        return decode_reply(reply, lease.outputs())
    return await call_by_wire(call, server)


async def _send(call: Call, server: Server, request: bytes) -> bytes:
    context = call.context
    reply = await server.infer(
        request,
        timeout=max(0.0, context.deadline.left_s()),
        metadata=tuple((key.lower(), value) for key, value in context.headers.items()),
    )
    return bytes(reply)
