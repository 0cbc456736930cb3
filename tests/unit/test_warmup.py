"""After the kernels were compiled ahead, no request to a shipped model compiles anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys
from pathlib import Path
from numba.core.dispatcher import Dispatcher
from service.postprocess.extract import extract, label
from service.postprocess.resizing import at_size
from service.warmup import compile_kernels
from training.deployment.export import open_artefact
from training.data.golden import golden_scenes

def signatures():
    return {
        (kernel.__module__, kernel.__name__, signature)
        for name, module in list(sys.modules.items()) if name.startswith("service.")
        for kernel in vars(module).values() if isinstance(kernel, Dispatcher)
        for signature in kernel.signatures
    }

compile_kernels()
ahead = signatures()
folder = Path(sys.argv[1])
artefact = open_artefact(folder)
for image in (scene.image for scene in golden_scenes("nuclei")):
    seen = artefact.predict(image)
    extract(seen, artefact.recipe, image.shape[:2])
    at_size(label(seen, artefact.recipe, image.shape[:2]), (99, 101), 400)
print(len(ahead) > 20, *sorted(f"{module}.{name}" for module, name, _ in signatures() - ahead))
"""


@pytest.mark.parametrize("model", ["nuclei", "sticks"])
def test_a_request_compiles_nothing(model: str) -> None:
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ROOT / "model_repository" / model)],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert found.stdout.split() == ["True"]
