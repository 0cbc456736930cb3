"""Where the network runs: ONNX Runtime in this process, or a Triton server."""
