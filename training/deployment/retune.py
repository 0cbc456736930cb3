"""Change how the output of an exported network is read; the network stays as it is."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from service.recipe import Recipe
from training.deployment.export import Artefact, ExportError, golden_of, open_artefact
from training.deployment.server_config import read_config, write_config


def retune(folder: Path, recipe: Recipe) -> None:
    """Store a recipe in a model folder, with what it makes of the golden image.

    Parameters
    ----------
    folder : Path
        The model's; changed in place.
    recipe : Recipe
        With other decoder settings than before.

    Raises
    ------
    ExportError
        If nothing is found in the golden image any more, or there is none.
    """
    if recipe.golden is None:
        raise ExportError(f"{folder.name}: a model is not served without a golden image")
    png = np.frombuffer(base64.b64decode(recipe.golden.image_png_base64), np.uint8)
    image = np.asarray(cv2.imdecode(png, cv2.IMREAD_UNCHANGED), np.uint8)
    image = image if image.ndim == 2 else image[:, :, 2::-1]
    golden = golden_of(Artefact(recipe, open_artefact(folder).session), image)
    config = read_config(folder)
    channels = {tensor.name: int(tensor.dims[0]) for tensor in config.output}
    text = write_config(config.name, replace(recipe, golden=golden), channels)
    (folder / "config.pbtxt").write_text(text, encoding="utf-8")
    answer = json.dumps({"instances": golden.instances}, indent=1, sort_keys=True)
    (folder / "golden.json").write_text(answer + "\n")
