"""Requests drawn from the OpenAPI schema, right and wrong: the answer is always a documented one.

``FUZZ_EXAMPLES=600`` sends ten thousand, other ones each time (or with ``--hypothesis-seed``);
``FUZZ_ADDRESS`` names a gateway that runs already, so that its memory can be watched from run to
run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from service.app import create_app
from service.settings import Settings
from tests.contract.networks import write_model
from tests.live import LiveGateway

for kind in ("image/bmp", "image/tiff", "image/gif", "application/zip"):
    schemathesis.serializer(kind)(lambda _context, value: value)  # as drawn: bytes are bytes

ADAPTERS = "cvat,label_studio"
schema = schemathesis.openapi.from_dict(create_app(Settings(adapters=ADAPTERS)).openapi())
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "15"))
FAULTS = {500, 501, 502, 505}
"""What no request may bring about; 503 and 504 are answers to load and to tiny deadlines."""


def no_fault_of_the_server(_: object, response: schemathesis.Response, __: object) -> None:
    assert response.status_code not in FAULTS


CHECKS = [
    no_fault_of_the_server,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if "FUZZ_ADDRESS" in os.environ:
        yield os.environ["FUZZ_ADDRESS"]
        return
    folder = tmp_path_factory.mktemp("schema")
    write_model(folder, "plain")
    options = {
        "model_repository": str(folder),
        "default_model": "plain",
        "jobs_file": str(folder / "jobs"),
        "adapters": ADAPTERS,
        "log_level": "error",
    }
    with LiveGateway(options) as live:
        yield live.address


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_documented(case: schemathesis.Case[Any], address: str) -> None:
    case.call_and_validate(base_url=address, checks=CHECKS)
