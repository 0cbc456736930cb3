"""The two messages of an inference call, with their tensors left outside protobuf.

Protobuf's Python library copies every tensor two or three times on its way through a message. A
message is only a sequence of fields, so tensors can be appended to the bytes of a request and found
in the bytes of a reply: one copy in, none out. Measured at 512x512 in docs/TRITON.md.

References
----------
https://protobuf.dev/programming-guides/encoding/ (records, varints);
``grpc_service.proto`` of triton-inference-server/common (field numbers).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import service_pb2

from service import signature
from service.arrays import UInt8
from service.backends.base import CallContext, Model
from service.backends.tensors import DTYPES
from service.errors import BackendFailed

INFER_METHOD: Final = "/inference.GRPCInferenceService/ModelInfer"

_RAW_INPUT: Final = 7  # ModelInferRequest.raw_input_contents
_RAW_OUTPUT: Final = 6  # ModelInferResponse.raw_output_contents
_LENGTH_DELIMITED: Final = 2


@dataclass(frozen=True, slots=True)
class Slot:
    """A tensor's place in a shared memory region."""

    region: str
    offset: int
    size_bytes: int


def encode_request(
    images: UInt8,
    model: Model,
    context: CallContext,
    slots: Mapping[str, Slot] | None = None,
) -> bytes:
    """Write a ``ModelInferRequest``.

    Parameters
    ----------
    images : (N, H, W, 3) uint8
        The input.
    model : Model
        Whose outputs are asked for.
    context : CallContext
        Request id, deadline and priority; the server drops the request from its queue after the
        deadline, and has what is more urgent overtake it there. The sizes go to a server that
        clusters.
    slots : mapping of str to Slot, optional
        Where each tensor, input and outputs, lies in shared memory; when given, the message
        carries no tensor.
    """
    request = service_pb2.ModelInferRequest(
        model_name=model.name, model_version=model.version, id=context.request_id
    )
    request.parameters["timeout"].int64_param = max(1, int(context.deadline.left_s() * 1e6))
    request.parameters["priority"].uint64_param = context.priority
    if model.recipe.clustered and context.sizes:
        request.parameters[signature.SIZES].string_param = json.dumps(context.sizes)
    tensor = request.inputs.add(
        name=signature.IMAGE, datatype=signature.INPUT.dtype, shape=images.shape
    )
    wanted = [request.outputs.add(name=s.name) for s in model.recipe.outputs]
    if slots is not None:
        for part in (tensor, *wanted):
            slot = slots[part.name]
            part.parameters["shared_memory_region"].string_param = slot.region
            part.parameters["shared_memory_offset"].int64_param = slot.offset
            part.parameters["shared_memory_byte_size"].int64_param = slot.size_bytes
        return bytes(request.SerializeToString())
    content = np.ascontiguousarray(images)
    head = _varint(_RAW_INPUT << 3 | _LENGTH_DELIMITED) + _varint(content.nbytes)
    return b"".join((request.SerializeToString(), head, content.data))


def decode_reply(
    data: bytes, regions: Mapping[str, memoryview] | None = None
) -> dict[str, npt.NDArray[Any]]:
    """Read a ``ModelInferResponse``.

    Parameters
    ----------
    data : bytes
        The message.
    regions : mapping of str to memoryview, optional
        By output name, the shared memory in which the server has written it.

    Returns
    -------
    dict of str to array
        The outputs by name. They are views on `data` or on the regions, except where the message
        puts one at an address that its type does not allow: that one is copied.

    Raises
    ------
    BackendFailed
        If the message is none, or its tensors and their descriptions do not agree.
    """
    rest, contents = _split(data)
    message = service_pb2.ModelInferResponse.FromString(rest)
    pieces = iter(contents)
    return {
        output.name: _array(output, regions[output.name] if regions else next(pieces, b""))
        for output in message.outputs
    }


def _array(output: Any, content: memoryview | bytes) -> npt.NDArray[Any]:
    if output.datatype not in DTYPES:
        raise BackendFailed(f"output {output.name!r} is {output.datatype}, which no method uses")
    dtype, shape = DTYPES[output.datatype], tuple(output.shape)
    count = int(np.prod(shape))
    if len(content) < count * dtype.itemsize:
        raise BackendFailed(f"output {output.name!r} has fewer bytes than its shape {shape}")
    array = np.frombuffer(content, dtype, count=count).reshape(shape)
    return array if array.flags.aligned else array.copy()


def _split(data: bytes) -> tuple[bytes, Sequence[memoryview]]:
    """Part a reply into its small fields and its tensors."""
    view = memoryview(data)
    rest: list[memoryview] = []
    contents: list[memoryview] = []
    for number, start, body, end in _records(view):
        if number == _RAW_OUTPUT:
            contents.append(view[body:end])
        else:
            rest.append(view[start:end])
    return b"".join(rest), contents


def _records(view: memoryview) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, start, start of the body and end of every field."""
    position = 0
    while position < len(view):
        start = position
        tag, position = _read_varint(view, position)
        if tag & 7 != _LENGTH_DELIMITED:  # ModelInferResponse has no other kind
            raise BackendFailed("the inference server's reply is no ModelInferResponse")
        size, position = _read_varint(view, position)
        end = position + size
        if end > len(view):
            raise BackendFailed("the inference server's reply is cut short")
        yield tag >> 3, start, position, end
        position = end


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(view: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(view):
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise BackendFailed("the inference server's reply is cut short")
