"""The query of ``/segment`` is described, read and refused as FastAPI would."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError

from service.api.query import query_parameters, read_query
from service.api.schemas import SegmentQuery


async def fastapis(query: Annotated[SegmentQuery, Query()]) -> None:
    """Take the parameters as FastAPI reads them."""


def asking(query: str) -> Request:
    return Request({"type": "http", "query_string": query.encode(), "headers": []})


def test_the_parameters_are_described_as_fastapi_describes_them() -> None:
    app = FastAPI()
    app.post("/")(fastapis)
    described: list[dict[str, Any]] = app.openapi()["paths"]["/"]["post"]["parameters"]
    assert query_parameters() == described


async def test_what_is_asked_for_is_read_and_the_rest_is_as_it_stands() -> None:
    query = await read_query(asking("model=nuclei&min_area=7&min_area=8&keep=true"))
    assert query == SegmentQuery(model="nuclei", min_area=8, keep=True)


@pytest.mark.parametrize(
    ("query", "name"), [("min_area=-1", "min_area"), ("bandwidth=", "bandwidth"), ("x=1", "x")]
)
async def test_what_is_wrong_is_named(query: str, name: str) -> None:
    with pytest.raises(RequestValidationError) as caught:
        await read_query(asking(query))
    assert [error["loc"] for error in caught.value.errors()] == [("query", name)]
