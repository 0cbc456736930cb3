"""Tiny networks with the real signature, each with one fault or habit that a test provokes.

The first pixel of an image is the lever: 0 is an ordinary call; more makes `slow` slower and `fail`
fail.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx
import onnx.parser

from service.domain import Category
from service.recipe import Recipe

EMBEDDING_SIZE = 8
TIGHT_QUEUE = """
max_batch_size: 1
dynamic_batching {
  max_queue_delay_microseconds: 0
  default_queue_policy {
    max_queue_size: 1
    default_timeout_microseconds: 60000000
    allow_timeout_override: true
  }
}
"""
"""Further configuration of a model that takes one request and lets one more wait."""

_CHANNELS_FIRST = """
    pixels = Cast<to: int = 1>(image)
    scaled = Mul(pixels, scale)
    planes = Transpose<perm = [0, 3, 1, 2]>(scaled)
"""


def _weights(name: str, rows: int) -> str:
    values = ", ".join(f"{(7 * i % 11) / 11 - 0.4:.4f}" for i in range(3 * rows))
    return f"float[{rows},3,1,1] {name} = {{{values}}}"


_LEVER = """
    corner = Slice(image, zeros4, ones4)
    lever8 = Reshape(corner, one)
    lever = Cast<to: int = 7>(lever8)
"""
_BODIES = {
    "plain": "full = Identity(planes)",
    "half": "full = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(planes)",
    "fail": _LEVER + "drift = Gather(zero_only, lever)\n full = Add(planes, drift)",
    "slow": _LEVER
    + """
    per_step = Constant<value = int64 {600}>()
    steps1 = Mul(lever, per_step)
    scalar = Constant<value_ints = [0]>()
    steps = Squeeze(steps1, scalar)
    go = Constant<value = bool {1}>()
    start = ConstantOfShape<value = float[1] {0.0}>(square)
    end = Loop<body = turn (int64 i, bool c, float[256,256] a) => (bool d, float[256,256] b) {
        d = Identity(c)
        b = MatMul(a, a)
    }>(steps, go, start)
    drift = ReduceMax<keepdims = 0>(end)
    full = Add(planes, drift)
    """,
}


def network(kind: str) -> bytes:
    """Return an ONNX file.

    Parameters
    ----------
    kind : str
        ``plain``; ``half``: outputs at half the size that the recipe promises; ``fail``: fails
        when the first pixel is not 0; ``slow``: takes about 0.1 s for every unit of it.
    """
    text = f"""
<ir_version: 8, opset_import: ["" : 18]>
{kind} (uint8[N,H,W,3] image) => (float16[N,8,h,w] embedding, float16[N,1,h,w] foreground)
<float[1] scale = {{0.00392157}}, {_weights("w_embedding", EMBEDDING_SIZE)},
 {_weights("w_foreground", 1)},
 int64[1] one = {{1}}, float[1] zero_only = {{0.0}}, int64[2] square = {{256, 256}},
 int64[4] zeros4 = {{0, 0, 0, 0}}, int64[4] ones4 = {{1, 1, 1, 1}}>
{{
    {_CHANNELS_FIRST}
    {_BODIES[kind]}
    embedding32 = Conv<kernel_shape = [1, 1]>(full, w_embedding)
    embedding = Cast<to: int = 10>(embedding32)
    foreground32 = Conv<kernel_shape = [1, 1]>(full, w_foreground)
    foreground = Cast<to: int = 10>(foreground32)
}}
"""
    return bytes(onnx.parser.parse_model(text).SerializeToString())


def write_model(repository: Path, name: str, kind: str = "plain", *, extra: str = "") -> Path:
    """Write a model folder as `training export` lays it out.

    Parameters
    ----------
    repository : Path
        The model repository; made when it is not there.
    name, kind : str
        The model's name, and which `network` it holds.
    extra : str
        Further fields of ``config.pbtxt``, such as a queue policy.

    Returns
    -------
    Path
        The model's folder.
    """
    onnx_bytes = network(kind)
    folder = repository / name
    (folder / "1").mkdir(parents=True, exist_ok=True)
    (folder / "1" / "model.onnx").write_bytes(onnx_bytes)
    (folder / "config.pbtxt").write_text(config_text(name, onnx_bytes, extra=extra))
    return folder


def config_text(name: str, onnx_bytes: bytes, *, extra: str = "") -> str:
    """Return the ``config.pbtxt`` of one of these networks."""
    recipe = Recipe(
        method="discriminative",
        embedding_size=EMBEDDING_SIZE,
        classes=(Category(1, "blob"),),
        size_multiple=2,
        network_sha256=hashlib.sha256(onnx_bytes).hexdigest(),
    ).to_json()
    quoted = recipe.replace("\\", "\\\\").replace('"', '\\"')
    if "max_batch_size" not in extra:
        extra += "\nmax_batch_size: 4"
    return f"""
name: "{name}"
backend: "onnxruntime"
input {{ name: "image" data_type: TYPE_UINT8 dims: [-1, -1, 3] }}
output {{ name: "embedding" data_type: TYPE_FP16 dims: [{EMBEDDING_SIZE}, -1, -1] }}
output {{ name: "foreground" data_type: TYPE_FP16 dims: [1, -1, -1] }}
instance_group {{ kind: KIND_AUTO count: 1 }}
parameters {{ key: "segmentation" value {{ string_value: "{quoted}" }} }}
parameters {{ key: "intra_op_thread_count" value {{ string_value: "1" }} }}
{extra}
"""
