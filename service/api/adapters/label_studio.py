"""Label Studio's machine learning backend: predictions as brush masks.

Connect a project to ``http://HOST:PORT/label-studio``. Its labelling interface needs an ``Image``
and ``BrushLabels``; the model is chosen by the project's extra parameter ``model``.

References
----------
HumanSignal/label-studio-ml-backend: ``/health``, ``/setup``, ``/predict``, ``/webhook``. Brush
masks are runs of the RGBA bytes of an image, packed as thi.ng/rle-pack does: 32 bits of length, 5
of word size, four times 4 of run sizes; then runs: a flag, 2 bits of which size, the length less
one, the value.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Final
from xml.etree import ElementTree

import numpy as np
import orjson
from fastapi import APIRouter, Depends, Request

from service.api.adapters.calls import CALL_PROBLEMS, json_body, segment
from service.api.adapters.task_images import TaskImages
from service.api.openapi import json_schema, object_body, takes
from service.api.orders import within_quota
from service.api.problems import problems
from service.api.schemas import SegmentQuery
from service.api.state import GatewayOf, intake_of
from service.arrays import Int32
from service.domain import Deadline
from service.errors import MalformedRequest
from service.gateway import Gateway
from service.request import Result
from service.settings import Settings

RUN_BITS: Final = (3, 4, 8, 16)
_MAX_CONFIG: Final = 2**18
"""Characters of a labelling interface: a tree is made of it while nothing else happens."""
_ASKED: Final = ("model", "scale", "page", "channel")
_TASKS: Final = object_body(
    {
        "tasks": {
            "type": "array",
            "items": json_schema({"data": {"type": "object"}}),
            "description": "The image is the member of `data` that `label_config` names.",
        },
        "label_config": {"type": "string", "description": "XML with an Image and BrushLabels."},
    },
    {"params": json_schema({}, {name: {} for name in _ASKED})},
)


def router_for(settings: Settings) -> APIRouter:
    """Return the routes that Label Studio asks for."""
    router = APIRouter(
        prefix="/label-studio",
        tags=["label studio"],
        dependencies=[Depends(within_quota)],
        responses=problems(401, 429),
    )
    images = TaskImages(settings)

    async def predict(request: Request, gateway: GatewayOf) -> dict[str, list[dict[str, Any]]]:
        """Find the objects of the tasks' images."""
        return {"results": await _predict(request, gateway, images)}

    router.add_api_route("/health", health)
    router.add_api_route("/setup", setup, methods=["POST"], responses=problems(404, 502, 503))
    router.add_api_route("/webhook", webhook, methods=["POST"])
    router.add_api_route(
        "/predict",
        predict,
        methods=["POST"],
        responses=CALL_PROBLEMS,
        openapi_extra=takes(_TASKS),
    )
    return router


async def health() -> dict[str, str]:
    """Say that predictions can be asked for."""
    return {"status": "UP", "model_class": "Discern"}


async def setup(gateway: GatewayOf) -> dict[str, str]:
    """Name the model that predicts."""
    model = await gateway.backend.model(gateway.settings.default_model)
    return {"model_version": f"{model.name}/{model.version}"}


async def webhook() -> dict[str, str]:
    """Take note of what happens in a project; nothing follows from it."""
    return {"status": "ok"}


async def _predict(request: Request, gateway: Gateway, images: TaskImages) -> list[dict[str, Any]]:
    async with json_body(request, gateway) as body:
        named, query, config = _asked(body)
        elsewhere = intake_of(request).fetch
        results = []
        for image in named:
            deadline = Deadline.after(gateway.settings.timeout_ms / 1e3)
            with gateway.gate.body() as arrived:
                data = await images.read(image, elsewhere, deadline, arrived)
                results.append(await _one(request, gateway, data, query, config))
    return results


def _asked(body: Any) -> tuple[list[object], SegmentQuery, _Config]:
    """Return the images of a body's tasks, what is asked of each, and how it is to be named."""
    try:
        config, tasks = _Config(body["label_config"]), list(body["tasks"])
        named = [task["data"][config.image_key] for task in tasks]
        extra = body.get("params") or {}
        query = SegmentQuery(**{name: extra[name] for name in _ASKED if name in extra})
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise MalformedRequest(
            "a prediction needs `tasks` with their data, and a `label_config` with an Image and "
            "BrushLabels; its extra parameters may hold the name of a `model`, a `scale`, "
            "a `page` and a `channel`"
        ) from error
    return named, query, config


async def _one(
    request: Request, gateway: Gateway, data: bytes, query: SegmentQuery, config: _Config
) -> dict[str, Any]:
    reply = await segment(request, gateway, data, query, lambda result: _write(result, config))
    model = reply.result.model
    scores = [found.score for found in reply.result.segmentation.instances]
    return {
        "result": await asyncio.to_thread(orjson.loads, reply.body),
        "score": round(float(np.mean(scores)), 4) if scores else 0.0,
        "model_version": f"{model.name}/{model.version}",
    }


class _Config:
    """The parts of a labelling interface that a prediction names.

    Raises
    ------
    ValueError, KeyError
        If it has no image with brush labels, or is longer than any.
    """

    def __init__(self, text: str) -> None:
        if len(text) > _MAX_CONFIG:
            raise ValueError("too long")
        if "<!" in text.replace("<!--", ""):  # no document type, so no entities to blow up
            raise ValueError("document types are not read")
        try:
            root = ElementTree.fromstring(text)  # noqa: S314 - no document type, see above
        except ElementTree.ParseError as error:
            raise ValueError("not XML") from error
        brush = next((tag for tag in root.iter("BrushLabels")), None)
        if brush is None:
            raise ValueError("no BrushLabels")
        self.from_name, self.to_name = brush.attrib["name"], brush.attrib["toName"]
        self.labels = [tag.attrib["value"] for tag in brush.iter("Label")]
        images = {tag.attrib.get("name"): tag for tag in root.iter("Image")}
        self.image_key = images[self.to_name].attrib["value"].removeprefix("$")

    def label_for(self, category: str) -> str:
        """Return the project's label of that name in any case; else its first."""
        alike = [label for label in self.labels if label.lower() == category.lower()]
        return (alike or self.labels or [category])[0]


def _write(result: Result, config: _Config) -> bytes:
    labels = result.segmentation.labels
    height, width = labels.shape
    return orjson.dumps(
        [
            {
                "id": str(found.id),
                "from_name": config.from_name,
                "to_name": config.to_name,
                "type": "brushlabels",
                "origin": "manual",
                "image_rotation": 0,
                "original_width": width,
                "original_height": height,
                "score": round(found.score, 4),
                "value": {
                    "format": "rle",
                    "rle": list(brush_rle(labels, found.id, found.bbox_xywh)),
                    "brushlabels": [config.label_for(found.category.name)],
                },
            }
            for found in result.segmentation.instances
        ]
    )


def brush_rle(labels: Int32, label: int, bbox_xywh: tuple[int, int, int, int]) -> bytes:
    """Pack the mask of one label as Label Studio's brush does.

    Parameters
    ----------
    labels : (H, W) int32
        The label image.
    label : int
        Which instance.
    bbox_xywh : tuple of int
        Its box.
    """
    height, width = labels.shape
    x, y, box_width, box_height = bbox_xywh
    mask = labels[y : y + box_height, x : x + box_width] == label
    steps = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, columns = np.nonzero(steps == 1)
    starts = (rows + y) * width + columns + x
    lengths = np.nonzero(steps == -1)[1] - columns
    bits = [f"{4 * height * width:032b}", f"{7:05b}", *(f"{size - 1:04b}" for size in RUN_BITS)]
    at = 0
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        bits.extend(_runs(4 * (start - at), 0))
        bits.extend(_runs(4 * length, 255))
        at = start + length
    bits.extend(_runs(4 * (height * width - at), 0))
    packed = "".join(bits)
    packed += "0" * (-len(packed) % 8)
    return int(packed, 2).to_bytes(len(packed) // 8)


def _runs(length: int, value: int) -> Iterator[str]:
    longest = 2 ** RUN_BITS[-1]
    while length:
        part = min(length, longest)
        kind = next(k for k, size in enumerate(RUN_BITS) if part <= 2**size)
        yield f"1{kind:02b}{part - 1:0{RUN_BITS[kind]}b}{value:08b}"
        length -= part
