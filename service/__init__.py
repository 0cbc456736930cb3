"""Discern's gateway: an image comes in over HTTP, instance masks go out."""

import os

# ONNX Runtime for Linux reports its use to its maker (microsoft/onnxruntime#27379), unless this is
# set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
