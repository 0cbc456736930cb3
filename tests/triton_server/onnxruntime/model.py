"""Stand-in for Triton's C++ onnxruntime backend on machines without its library.

Triton runs every model with ``backend: "onnxruntime"`` through this file when it is
``<backend-directory>/onnxruntime/model.py``, with the production configuration unchanged. It
refuses at load what the C++ backend refuses; settings for GPUs are accepted and ignored.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils  # exists only inside Triton

ONNX_TO_TRITON = {
    "tensor(float)": "TYPE_FP32",
    "tensor(float16)": "TYPE_FP16",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
}


def open_session(config: Mapping[str, Any], version_folder: Path) -> Any:
    """Open the network as the configuration says."""

    def threads(key: str) -> int:
        return int(config.get("parameters", {}).get(key, {}).get("string_value", 0))

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads("intra_op_thread_count")
    options.inter_op_num_threads = threads("inter_op_thread_count")
    options.log_severity_level = 3
    path = version_folder / (config.get("default_model_filename") or "model.onnx")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def check_tensors(config: Mapping[str, Any], kind: str, nodes: Sequence[Any]) -> None:
    """Refuse a configuration whose names, types, ranks or fixed sizes are not the network's."""
    batch = [-1] if config["max_batch_size"] > 0 else []
    known = {node.name: node for node in nodes}
    for tensor in config[kind]:
        node = known.get(tensor["name"])
        if node is None:
            raise pb_utils.TritonModelException(
                f"unexpected inference {kind} '{tensor['name']}', allowed: {', '.join(known)}"
            )
        declared = (tensor["data_type"], batch + [int(size) for size in tensor["dims"]])
        sizes = [size if isinstance(size, int) else -1 for size in node.shape]
        actual = (ONNX_TO_TRITON[node.type], sizes)
        # As in C++: a network may leave an input's size open that the configuration fixes.
        if kind == "input" and len(sizes) == len(declared[1]):
            pairs = zip(sizes, declared[1], strict=True)
            actual = (actual[0], [want if have == -1 else have for have, want in pairs])
        if declared != actual:
            raise pb_utils.TritonModelException(
                f"model '{config['name']}', {kind} '{tensor['name']}': "
                f"the network has {actual}, the configuration says {declared}"
            )


class TritonPythonModel:
    """One instance of one model."""

    @staticmethod
    def auto_complete_config(config: Any) -> Any:
        """Leave the configuration as it is: ours are complete."""
        return config

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the network and check it against the configuration."""
        config = json.loads(args["model_config"])
        folder = Path(args["model_repository"]) / args["model_version"]
        self.session = open_session(config, folder)
        check_tensors(config, "input", self.session.get_inputs())
        check_tensors(config, "output", self.session.get_outputs())
        self.batches = config["max_batch_size"] > 0
        self.inputs = [tensor["name"] for tensor in config["input"]]
        self.outputs = [tensor["name"] for tensor in config["output"]]

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer one batch of requests; an error is every request's answer."""
        # DLPack both ways: under NumPy 2 the ordinary constructor sends empty tensors.
        feeds = {
            name: [
                np.from_dlpack(pb_utils.get_input_tensor_by_name(request, name))
                for request in requests
            ]
            for name in self.inputs
        }
        try:
            runs = self.run(feeds, len(requests))
        except Exception as error:  # noqa: BLE001 - whatever it is, the requests must hear of it
            failure = pb_utils.TritonError(f"onnx runtime error: {error}")
            return [pb_utils.InferenceResponse([], failure) for _ in requests]
        return [
            pb_utils.InferenceResponse(
                [
                    pb_utils.Tensor.from_dlpack(name, np.ascontiguousarray(array))
                    for name, array in zip(self.outputs, run, strict=True)
                    if name in request.requested_output_names()
                ]
            )
            for request, run in zip(requests, runs, strict=True)
        ]

    def run(self, feeds: Mapping[str, list[Any]], count: int) -> list[Any]:
        """Run the network once for the whole batch, and split its answer by request."""
        if count == 1 or not self.batches:
            singles = [{name: parts[i] for name, parts in feeds.items()} for i in range(count)]
            return [self.session.run(self.outputs, feed) for feed in singles]
        cuts = np.cumsum([part.shape[0] for part in feeds[self.inputs[0]]])[:-1]
        whole = self.session.run(
            self.outputs, {name: np.concatenate(parts) for name, parts in feeds.items()}
        )
        return list(zip(*(np.split(array, cuts) for array in whole), strict=True))
