"""Pictures whose right answer is known to the pixel, and a network that finds it.

Every object of a scene has a colour of its own on black. The network's embedding is the colour, its
foreground the brightness, so that clustering must give back the drawn labels exactly.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import numpy as np
import numpy.typing as npt
import onnx.parser
from PIL import Image

from service.app import create_app
from service.domain import Category
from service.recipe import Recipe
from service.server import create_server
from service.settings import Settings

COLOURS = np.array(
    [(r, g, b) for r in (40, 140, 240) for g in (40, 140, 240) for b in (40, 140, 240)], np.uint8
)
MODEL = "scenes"

_NETWORK = """
<ir_version: 8, opset_import: ["" : 18]>
scenes (uint8[N,H,W,3] image) => (float16[N,3,H,W] embedding, float16[N,1,H,W] foreground)
<float[1] scale = {0.05}, float[1,3,1,1] mean = {1.0, 1.0, 1.0}, float[1] offset = {-3.0}>
{
    pixels = Cast<to: int = 1>(image)
    scaled = Mul(pixels, scale)
    planes = Transpose<perm = [0, 3, 1, 2]>(scaled)
    embedding = Cast<to: int = 10>(planes)
    light = Conv<kernel_shape = [1, 1]>(planes, mean)
    logits = Add(light, offset)
    foreground = Cast<to: int = 10>(logits)
}
"""


def write_scenes_model(repository: Path, name: str = MODEL) -> Path:
    """Write the model's folder and return it."""
    network = onnx.parser.parse_model(_NETWORK).SerializeToString()
    recipe = Recipe(
        method="discriminative",
        embedding_size=3,
        classes=(Category(1, "disc"),),
        size_multiple=8,
        decoder={"bandwidth": 1.5, "min_pixels": 1.0},
        network_sha256=hashlib.sha256(network).hexdigest(),
    ).to_json()
    quoted = recipe.replace('"', '\\"')
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").write_bytes(network)
    (folder / "config.pbtxt").write_text(f"""
name: "{name}"
backend: "onnxruntime"
max_batch_size: 4
input {{ name: "image" data_type: TYPE_UINT8 dims: [-1, -1, 3] }}
output {{ name: "embedding" data_type: TYPE_FP16 dims: [3, -1, -1] }}
output {{ name: "foreground" data_type: TYPE_FP16 dims: [1, -1, -1] }}
parameters {{ key: "segmentation" value {{ string_value: "{quoted}" }} }}
""")
    return folder


def draw_scene(
    seed: int, *, height: int = 96, width: int = 120, count: int = 9
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Draw `count` discs (at most 27), some over others, some with a hole.

    Returns
    -------
    image : (height, width, 3) uint8
    labels : (height, width) int32
        1..K, every one of which occurs.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    image = np.zeros((height, width, 3), np.uint8)
    labels = np.zeros((height, width), np.int32)
    for number, colour in enumerate(rng.permutation(COLOURS)[:count], start=1):
        distance = np.hypot(y - rng.uniform(0, height), x - rng.uniform(0, width))
        radius = rng.uniform(0.08, 0.2) * min(height, width)
        disc = (distance < radius) & (distance > radius * (0.4 if number % 3 == 0 else -1))
        image[disc], labels[disc] = colour, number
    seen, consecutive = np.unique(np.append(labels, 0), return_inverse=True)
    assert seen.size > 1
    return image, consecutive[:-1].reshape(labels.shape).astype(np.int32)


def png_of(image: npt.NDArray[np.uint8]) -> bytes:
    """Return the picture as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def stack_of(*images: npt.NDArray[np.uint8]) -> bytes:
    """Write pictures as the pages of a TIFF file."""
    first, *others = (Image.fromarray(image) for image in images)
    file = io.BytesIO()
    first.save(file, "TIFF", save_all=True, append_images=others)
    return file.getvalue()


@contextmanager
def running_server(repository: Path, **settings: object) -> Iterator[str]:
    """Run a real gateway in a thread and yield its address once it is ready."""
    given = {"model_repository": repository, "default_model": MODEL, "port": 0, **settings}
    chosen = Settings.model_validate(given)
    app = create_app(chosen)
    addresses: list[str] = []
    server = create_server(app, chosen, on_ready=addresses.append)
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while thread.is_alive() and not addresses:
            thread.join(0.02)
        assert addresses, app.state.gateway.lifecycle.failed
        yield addresses[0]
    finally:
        server.should_exit = True
        thread.join()
