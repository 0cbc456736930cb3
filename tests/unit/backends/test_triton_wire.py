"""Messages put together by hand are the messages that protobuf makes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tritonclient.grpc import service_pb2

from service.backends.base import CallContext, Model
from service.backends.triton_wire import Slot, decode_reply, encode_request
from service.domain import Category, Deadline
from service.errors import BackendFailed
from service.recipe import Recipe

MODEL = Model(
    "blobs",
    "3",
    Recipe(
        method="discriminative", embedding_size=8, classes=(Category(1, "blob"),), size_multiple=2
    ),
)
CONTEXT = CallContext("request-7", Deadline.after(60.0))

images = arrays.arrays(
    np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40), st.just(3))
)
halves = arrays.arrays(
    np.float16,
    arrays.array_shapes(min_dims=1, max_dims=4, max_side=12),
    elements=st.floats(-100, 100, width=16),
)


def reply(**outputs: np.ndarray) -> service_pb2.ModelInferResponse:
    message = service_pb2.ModelInferResponse(model_name="blobs", model_version="3", id="request-7")
    for name, array in outputs.items():
        message.outputs.add(name=name, datatype="FP16", shape=array.shape)
        message.raw_output_contents.append(array.tobytes())
    return message


@given(images)
def test_a_request_is_read_back_by_protobuf(batch: np.ndarray) -> None:
    request = service_pb2.ModelInferRequest.FromString(encode_request(batch, MODEL, CONTEXT))
    assert (request.model_name, request.model_version, request.id) == ("blobs", "3", "request-7")
    assert [tuple(tensor.shape) for tensor in request.inputs] == [batch.shape]
    assert [output.name for output in request.outputs] == ["embedding", "foreground"]
    assert list(request.raw_input_contents) == [batch.tobytes()]


@pytest.mark.parametrize(
    ("clustered", "sizes", "sent"),
    [
        (True, [(3, 4), (4, 2)], [[3, 4], [4, 2]]),
        (True, (), None),
        (False, [(3, 4), (4, 2)], None),
    ],
)
def test_sizes_without_padding_go_to_a_server_that_clusters(
    *, clustered: bool, sizes: list[tuple[int, int]], sent: list[list[int]] | None
) -> None:
    model = replace(MODEL, recipe=replace(MODEL.recipe, clustered=clustered))
    data = encode_request(np.zeros((2, 4, 4, 3), np.uint8), model, replace(CONTEXT, sizes=sizes))
    parameters = service_pb2.ModelInferRequest.FromString(data).parameters
    assert ("sizes" in parameters) == (sent is not None)
    assert sent is None or json.loads(parameters["sizes"].string_param) == sent


def test_a_request_through_shared_memory_names_places_and_carries_no_tensor() -> None:
    slots = {
        name: Slot("region", 64 * i, 48 + i)
        for i, name in enumerate(("image", "embedding", "foreground"))
    }
    batch = np.zeros((1, 4, 4, 3), np.uint8)
    request = service_pb2.ModelInferRequest.FromString(encode_request(batch, MODEL, CONTEXT, slots))
    places = {
        part.name: (
            part.parameters["shared_memory_region"].string_param,
            part.parameters["shared_memory_offset"].int64_param,
            part.parameters["shared_memory_byte_size"].int64_param,
        )
        for part in (*request.inputs, *request.outputs)
    }
    assert places == {
        "image": ("region", 0, 48),
        "embedding": ("region", 64, 49),
        "foreground": ("region", 128, 50),
    }
    assert not request.raw_input_contents


@given(halves, halves)
def test_a_reply_written_by_protobuf_is_read(first: np.ndarray, second: np.ndarray) -> None:
    tensors = decode_reply(reply(one=first, two=second).SerializeToString())
    np.testing.assert_array_equal(tensors["one"], first)
    np.testing.assert_array_equal(tensors["two"], second)


@given(halves, st.text(max_size=9))
def test_arrays_are_aligned_wherever_the_message_puts_them(array: np.ndarray, name: str) -> None:
    message = reply(one=array)
    message.model_name = name
    assert decode_reply(message.SerializeToString())["one"].flags.aligned


@given(halves, st.data())
def test_a_reply_that_is_cut_short_is_a_failure(array: np.ndarray, data: st.DataObject) -> None:
    whole = reply(one=array).SerializeToString()
    # Only cuts inside the tensor: shorter prefixes can be whole messages with fewer fields.
    cut = data.draw(st.integers(1, array.nbytes))
    with pytest.raises(BackendFailed):
        decode_reply(whole[:-cut])


@pytest.mark.parametrize("data", [b"\x08\x01", b"\xff\xff", b"\x32\x80"])
def test_bytes_that_are_no_reply_are_a_failure(data: bytes) -> None:
    with pytest.raises(BackendFailed):
        decode_reply(data)


def test_an_output_without_bytes_is_a_failure() -> None:
    message = reply(one=np.zeros(3, np.float16))
    del message.raw_output_contents[:]
    with pytest.raises(BackendFailed):
        decode_reply(message.SerializeToString())


def test_an_output_of_a_type_that_no_method_uses_is_a_failure() -> None:
    message = reply(one=np.zeros(3, np.float16))
    message.outputs[0].datatype = "BYTES"
    with pytest.raises(BackendFailed):
        decode_reply(message.SerializeToString())
