"""A Discern server as an auto-annotation function of CVAT's SDK and command line.

``pip install 'discern[cvat]' cvat-cli``, then for a task of a CVAT server::

    cvat-cli task auto-annotate 137 --function-module discern.cvat \
        -p url=str:http://127.0.0.1:8000 -p model=str:nuclei

The labels of the task are matched by name with the categories of the model.

References
----------
CVAT's documentation, "Auto-annotation API": a function has a `spec` and `detect`; a module that
needs parameters has `create`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Literal

import cvat_sdk.auto_annotation as cvataa
import numpy as np
import numpy.typing as npt
from cvat_sdk.masks import encode_mask
from cvat_sdk.models import LabeledShapeRequest
from PIL import Image

from discern.calls import LOCAL
from discern.client import Client
from discern.results import Settings

Pixels = npt.NDArray[np.generic]
Scale = float | Literal["auto"]

_SENT_AS_THEY_ARE = ("L", "RGB", "I;16")


class Function:
    """Finds the objects of a frame on a server.

    Parameters
    ----------
    client : Client
        The server.
    model : str
        Name of the model; the server's default when empty.
    scale : float or "auto"
        By how much larger its network sees the frames; auto: by as much as suits each.
    channel : int, optional
        The one channel of the frames that is segmented, counted from 0; all when None.

    Raises
    ------
    BadFunctionError
        If the server has no such model.
    DiscernClientError
        If the server does not answer.
    """

    def __init__(
        self, client: Client, model: str = "", scale: Scale = 1.0, channel: int | None = None
    ) -> None:
        self._client = client
        models = {item["name"]: item for item in client.models()}
        wanted = model or next(name for name, item in models.items() if item["default"])
        if wanted not in models:
            raise cvataa.BadFunctionError(
                f"the server has no model {wanted!r}; it has {', '.join(sorted(models))}"
            )
        self._model = wanted
        self._scale = scale
        self._channel = channel
        self.spec = cvataa.DetectionFunctionSpec(
            labels=[
                cvataa.label_spec(category["name"], category["id"], type="mask")
                for category in models[wanted]["classes"]
            ]
        )

    def close(self) -> None:
        """Close the connections; CVAT's own tools leave that to the end of the program."""
        self._client.close()

    def detect(
        self, context: cvataa.DetectionFunctionContext, image: Image.Image
    ) -> list[LabeledShapeRequest]:
        """Return the objects of a frame: masks, or polygons where the context asks for them."""
        shapes = self._polygons if context.conv_mask_to_poly else self._masks
        return list(shapes(_pixels_of(image), context.conf_threshold))

    def _asked(self, least: float | None) -> Settings:
        asked: Settings = {"model": self._model, "scale": self._scale}
        if least is not None:  # else the model's own holds
            asked["min_score"] = least
        if self._channel is not None:
            asked["channel"] = self._channel
        return asked

    def _masks(self, pixels: Pixels, least: float | None) -> Iterator[LabeledShapeRequest]:
        found = self._client.segment(pixels, **self._asked(least))
        for item in found.instances:
            x, y, width, height = item.bbox
            points = encode_mask(item.mask, [x, y, x + width, y + height])
            yield cvataa.mask(item.category_id, points, score=item.score)

    def _polygons(self, pixels: Pixels, least: float | None) -> Iterator[LabeledShapeRequest]:
        """CVAT's polygons have no holes, and one part: an object of several gives several."""
        body = self._client.render(pixels, "polygons", **self._asked(least))
        for item in json.loads(body)["instances"]:
            for outline, *_ in item["segmentation"]["coordinates"]:
                points = [float(value) for corner in outline[:-1] for value in corner]
                yield cvataa.polygon(item["category"]["id"], points, score=item["score"])


def create(
    url: str = LOCAL,
    model: str = "",
    api_key: str = "",
    scale: Scale = 1.0,
    channel: int | None = None,
) -> Function:
    """Return the function for a server; the key may come from ``DISCERN_API_KEY`` instead."""
    key = api_key or os.environ.get("DISCERN_API_KEY")
    client = Client(url, api_key=key)
    try:
        return Function(client, model, scale, channel)
    except BaseException:
        client.close()
        raise


def _pixels_of(image: Image.Image) -> Pixels:
    return np.asarray(image if image.mode in _SENT_AS_THEY_ARE else image.convert("RGB"))
