"""What fuzzing calls: each takes any bytes, and passes on whatever is no documented refusal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qsl

import numpy as np
from pydantic import ValidationError

from discern.rle import decode as decode_in_client
from service.api.formats import choose_format
from service.api.quotas import parse_quota
from service.api.schemas import SegmentQuery
from service.errors import NotAcceptable, SettingsError
from service.masks.rle import decode, encode_labels
from service.telemetry.tracing import Trace
from tests.fuzz.fuzz_decode import outcome


def image(data: bytes) -> None:
    """Decode an image file."""
    outcome(data)


def parameters(data: bytes) -> None:
    """Read a query, and headers; a query that is taken survives being kept with a job."""
    text = data.decode("latin-1")
    with contextlib.suppress(ValidationError):
        query = SegmentQuery.model_validate(dict(parse_qsl(text, keep_blank_values=True)))
        kept = query.model_dump_json(exclude_defaults=True)
        assert SegmentQuery.model_validate_json(kept) == query
    with contextlib.suppress(NotAcceptable):
        choose_format(None, text)
    with contextlib.suppress(SettingsError):
        parse_quota(text)
    Trace.begin(text, text, ratio=0.5)


def rle(data: bytes) -> None:
    """Draw a mask from run lengths; what can be drawn is encoded again, and read by the client."""
    height, width = (data[0], data[1]) if len(data) > 1 else (0, 0)
    counts = data[2:].decode("latin-1")
    try:
        mask = decode({"size": [height, width], "counts": counts})
    except ValueError:
        return
    assert np.array_equal(decode_in_client((height, width), counts), mask)
    if mask.any():
        (again,) = encode_labels(mask.astype(np.int32))
        assert np.array_equal(decode(again), mask)


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "image": image,
    "parameters": parameters,
    "rle": rle,
}
