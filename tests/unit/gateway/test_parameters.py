"""The parameters of ``/segment`` are described, read and refused as FastAPI would."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from service.api.parameters import described, read_headers, read_query
from service.api.schemas import SegmentHeaders, SegmentQuery
from service.settings import Settings


async def fastapis(
    query: Annotated[SegmentQuery, Query()], headers: Annotated[SegmentHeaders, Header()]
) -> None:
    """Take the parameters as FastAPI reads them."""


def asking(query: str = "", **headers: str) -> Request:
    raw = [
        (name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()
    ]
    return Request({"type": "http", "query_string": query.encode(), "headers": raw})


def test_the_parameters_are_described_as_fastapi_describes_them() -> None:
    app = FastAPI()
    app.post("/")(fastapis)
    expected: list[dict[str, Any]] = app.openapi()["paths"]["/"]["post"]["parameters"]
    assert described() == expected


def test_what_is_asked_for_is_read_and_the_rest_is_as_it_stands() -> None:
    query = read_query(asking("model=nuclei&min_area=7&min_area=8&keep=true"))
    assert query == SegmentQuery(model="nuclei", min_area=8, keep=True)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("min_area=-1", "min_area"),
        ("bandwidth=", "bandwidth"),
        ("scale=0", "scale"),
        ("scale=nan", "scale"),
        ("scale=large", "scale"),
        ("page=-1", "page"),
        ("page=10000", "page"),
        ("page=every", "page"),
        ("channel=4", "channel"),
        ("x=1", "x"),
    ],
)
def test_what_is_wrong_is_named(query: str, name: str) -> None:
    with pytest.raises(RequestValidationError) as caught:
        read_query(asking(query))
    assert [error["loc"] for error in caught.value.errors()] == [("query", name)]


def test_a_scale_is_a_number_or_left_to_the_server() -> None:
    assert read_query(asking("scale=0.5")).scale == 0.5
    assert read_query(asking("scale=auto")).scale == "auto"
    with pytest.raises(RequestValidationError, match="must be a number from"):
        read_query(asking("scale=Auto"))


def test_a_page_is_a_number_or_all_of_them() -> None:
    assert read_query(asking("page=7")).page == 7
    assert read_query(asking("page=all")).page == "all"
    with pytest.raises(
        RequestValidationError, match="must be a whole number from 0 to 9999, or all"
    ):
        read_query(asking("page=ALL"))


def test_headers_are_read_whatever_their_case() -> None:
    headers = read_headers(asking(X_REQUEST_TIMEOUT="2.5", prefer="respond-async", Accept="x/y"))
    assert (headers.timeout_s, headers.prefer, headers.idempotency_key) == (
        2.5,
        "respond-async",
        None,
    )


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon", "", "86401"])
def test_a_timeout_that_is_none_is_named(value: str) -> None:
    with pytest.raises(RequestValidationError) as caught:
        read_headers(asking(X_REQUEST_TIMEOUT=value))
    assert [error["loc"] for error in caught.value.errors()] == [("header", "X-Request-Timeout")]


def test_no_server_promises_more_than_a_request_may_ask_for() -> None:
    asked = Settings().max_instances + 1
    with pytest.raises(RequestValidationError):
        read_query(asking(f"max_instances={asked}"))
    with pytest.raises(ValidationError):
        Settings(max_instances=asked)
