"""What OpenAPI is told beyond what FastAPI reads off the routes: bodies, answers, and keys."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI

from service.api.formats import JSON, WRITERS
from service.api.intake import FIELD, MEDIA_TYPES, ZIP
from service.api.problems import problems
from service.api.schemas import CocoOut, SegmentAnswer

Content = dict[str, dict[str, Any]]

_BINARY: Final = {"type": "string", "format": "binary"}
BASE64: Final = {"type": "string", "contentEncoding": "base64"}
_URL: Final = {
    "type": "string",
    "format": "uri",
    "description": "Where the image is, on a host that this server is allowed to ask.",
}


def json_schema(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the schema of an object, by the schemas of its members."""
    properties = {**required, **(optional or {})}
    return {"type": "object", "required": list(required), "properties": properties}


def object_body(required: dict[str, Any], optional: dict[str, Any] | None = None) -> Content:
    """Return a body that is a JSON object."""
    return {"application/json": {"schema": json_schema(required, optional)}}


ONE_IMAGE: Final[Content] = {
    "multipart/form-data": {"schema": json_schema({FIELD: _BINARY})},
    **object_body(
        {FIELD: {"oneOf": [json_schema({"base64": BASE64}), json_schema({"url": _URL})]}}
    ),
    **{kind: {"schema": _BINARY} for kind in MEDIA_TYPES},
}
ARCHIVE: Final[Content] = {ZIP: {"schema": _BINARY}}
FILES: Final[Content] = {
    "multipart/form-data": {"schema": json_schema({}, {FIELD: {"type": "array", "items": _BINARY}})}
}


def takes(content: Content, *, required: bool = True) -> dict[str, Any]:
    """Return what a route says of its body, as `openapi_extra`."""
    return {"requestBody": {"required": required, "content": content}}


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return how a route documents the answer to one image, and problems."""
    binary = sorted({writer.media_type for writer in WRITERS.values()} - {JSON})
    found: dict[str, Any] = {
        "model": SegmentAnswer | list[CocoOut],
        "content": {kind: {} for kind in binary},
    }
    return {200: found, **problems(*statuses)}


class DescribedApp(FastAPI):
    """An application that says which of its operations want a key.

    They are those that can answer 401. Without keys an empty requirement stands beside: none is
    needed, and one does no harm.
    """

    keys_needed = False

    def openapi(self) -> dict[str, Any]:
        """Return the description of the API."""
        schema = super().openapi()
        schema["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        wanted: list[dict[str, list[str]]] = [
            {"bearer": []},
            {"key": []},
            *([] if self.keys_needed else [{}]),
        ]
        for operations in schema["paths"].values():
            for operation in operations.values():
                if "401" in operation["responses"]:
                    operation["security"] = wanted
        return schema
