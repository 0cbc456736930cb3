"""CVAT's automatic annotation, without Nuclio: this server answers what CVAT asks a dashboard.

Start CVAT with ``CVAT_NUCLIO_HOST`` and ``CVAT_NUCLIO_PORT`` naming this server: every model
appears under "AI tools" as a detector that gives masks.

References
----------
cvat-ai/cvat, ``cvat/apps/lambda_manager/views.py``: ``/api/functions`` lists functions with their
annotations, ``/api/function_invocations`` runs the one that a header names. A mask is the pixels of
its box row by row, then left, top, right, bottom (inclusive).
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

import numpy as np
import orjson
from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import Response

from service.api.adapters.calls import CALL_PROBLEMS, json_body, segment
from service.api.formats import JSON
from service.api.intake import from_base64
from service.api.openapi import BASE64, object_body, takes
from service.api.orders import within_quota
from service.api.problems import problems
from service.api.schemas import SegmentQuery
from service.api.state import GatewayOf
from service.backends.base import Model
from service.errors import BadParameter, MalformedRequest
from service.masks.polygon import polygons_of_labels
from service.request import Result

router = APIRouter(
    tags=["cvat"], dependencies=[Depends(within_quota)], responses=problems(401, 429)
)
_THRESHOLD: Final = {"type": "number", "minimum": 0, "maximum": 1}
_CALL: Final = object_body({"image": BASE64}, {"threshold": _THRESHOLD})


@router.get("/api/functions", responses=problems(502, 503))
async def list_functions(gateway: GatewayOf) -> dict[str, Any]:
    """List the models as CVAT's functions, by name."""
    return {model.name: _function(model) for model in await gateway.backend.models()}


@router.get("/api/functions/{name}", responses=problems(404, 502, 503))
async def get_function(name: str, gateway: GatewayOf) -> dict[str, Any]:
    """Describe one model as a function."""
    return _function(await gateway.backend.model(name))


@router.post("/api/function_invocations", responses=CALL_PROBLEMS, openapi_extra=takes(_CALL))
async def invoke(
    request: Request,
    gateway: GatewayOf,
    name: Annotated[
        str, Header(alias="x-nuclio-function-name", pattern=r"^[A-Za-z0-9._-]{1,128}$")
    ],
) -> Response:
    """Find the objects of an image (base64, member `image`), no less certain than `threshold`."""
    async with json_body(request, gateway) as body:
        if not isinstance(body, dict):
            raise MalformedRequest("the body must be a JSON object")
        query = _query(name, body.get("threshold"))
        data = await asyncio.to_thread(_image, body)
        reply = await segment(request, gateway, data, query, _write)
    return Response(reply.body, media_type=JSON)


def _image(body: dict[str, Any]) -> bytes:
    """Take the image out of a body, so that its text is not held beside it."""
    text = body.pop("image", None)
    if not isinstance(text, str):
        raise MalformedRequest("the body holds no image: it needs base64 in its member `image`")
    return from_base64(text)


def _query(model: str, threshold: object) -> SegmentQuery:
    if threshold is not None and not (isinstance(threshold, int | float) and 0 <= threshold <= 1):
        raise BadParameter("threshold must lie in [0, 1]", parameter="threshold")
    return SegmentQuery.model_validate({"model": model, "min_score": threshold})


def _function(model: Model) -> dict[str, Any]:
    labels = [
        {"id": entry.id, "name": entry.name, "type": "mask"} for entry in model.recipe.classes
    ]
    return {
        "metadata": {
            "name": model.name,
            "namespace": "nuclio",
            "annotations": {
                "name": f"Discern {model.name}",
                "type": "detector",
                "framework": "onnx",
                "spec": orjson.dumps(labels).decode(),
            },
        },
        "spec": {"description": f"{model.recipe.method} pixel embeddings, version {model.version}"},
        "status": {"state": "ready"},
    }


def _write(result: Result) -> bytes:
    labels = result.segmentation.labels
    outlines = polygons_of_labels(labels)
    found = []
    for instance in result.segmentation.instances:
        x, y, width, height = instance.bbox_xywh
        pixels = labels[y : y + height, x : x + width] == instance.id
        outer = max((polygon[0] for polygon in outlines[instance.id - 1]), key=len)
        found.append(
            {
                "confidence": f"{instance.score:.4f}",
                "label": instance.category.name,
                "type": "mask",
                "points": [value for corner in outer[:-1] for value in corner],
                "mask": [
                    *pixels.astype(np.uint8).ravel().tolist(),
                    *(x, y, x + width - 1, y + height - 1),
                ],
            }
        )
    return orjson.dumps(found)
