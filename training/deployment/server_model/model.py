"""Triton's python backend around `clustering`: embedding and foreground in, label map out."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import triton_python_backend_utils as pb_utils  # exists only inside Triton
from torch.utils.dlpack import from_dlpack

from training.deployment.server_model.clustering import instances  # beside this file when served

OUTPUTS = ("labels", "scores", "classes")


class TritonPythonModel:
    """One instance of the model."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Read the recipe that the configuration carries."""
        parameters = json.loads(args["model_config"])["parameters"]
        self.recipe = json.loads(parameters["recipe"]["string_value"])

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Cluster each request's images, on the device where their tensors are."""
        return [self.answer(request) for request in requests]

    def answer(self, request: Any) -> Any:
        """Cluster the images of one request; a failure is its answer alone."""
        try:
            embedding, foreground = (
                from_dlpack(pb_utils.get_input_tensor_by_name(request, name).to_dlpack())
                for name in ("embedding", "foreground")
            )
            sizes = json.loads(json.loads(request.parameters() or "{}").get("sizes", "[]"))
            with torch.inference_mode():
                found = instances(embedding, foreground, self.recipe, sizes)
        except Exception as error:  # noqa: BLE001 - whatever it is, the request must hear of it
            return pb_utils.InferenceResponse([], pb_utils.TritonError(f"clustering: {error}"))
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor.from_dlpack(name, tensor.contiguous())
                for name, tensor in zip(OUTPUTS, found, strict=True)
            ]
        )
