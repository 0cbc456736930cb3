"""The parameters of ``POST /segment``, read without looking at the type of every field anew.

FastAPI does so for every request, and resolves every dependency: 0.2 ms of an answer more
(`python -m benchmarks.bench_triton gateway`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from service.api.schemas import SegmentHeaders, SegmentQuery

M = TypeVar("M", bound=BaseModel)

_HEADERS: Final = tuple(field.alias or name for name, field in SegmentHeaders.model_fields.items())


def read_query(request: Request) -> SegmentQuery:
    """Return what the query of a request asks for.

    Raises
    ------
    RequestValidationError
        As FastAPI raises it.
    """
    return _read(SegmentQuery, dict(request.query_params), "query")


def read_headers(request: Request) -> SegmentHeaders:
    """Return what the headers of a request ask for.

    Raises
    ------
    RequestValidationError
        As FastAPI raises it.
    """
    given = {name: request.headers[name] for name in _HEADERS if name in request.headers}
    return _read(SegmentHeaders, given, "header")


def described() -> list[dict[str, Any]]:
    """Return how OpenAPI describes the parameters, as FastAPI would."""
    return [*_described(SegmentQuery, "query"), *_described(SegmentHeaders, "header")]


def _read(model: type[M], given: Mapping[str, str], place: str) -> M:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        found = [{**item, "loc": (place, *item["loc"])} for item in error.errors()]
        raise RequestValidationError(found) from error


def _described(model: type[BaseModel], place: str) -> list[dict[str, Any]]:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return [
        {
            "name": name,
            "in": place,
            "required": False,
            "schema": {
                "title": name.title(),
                **{key: value for key, value in field.items() if (key, value) != ("default", None)},
            },
            "description": field["description"],
        }
        for name, field in schema["properties"].items()
    ]
