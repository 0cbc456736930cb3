"""Change how the output of an exported network is read; the network stays as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from service.recipe import Recipe
from training.data.files import read_image
from training.deployment.export import Artefact, golden_of, open_artefact, write_recipe


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
        If nothing is found in the golden image any more.
    DataError
        If the golden image cannot be read.
    """
    session = open_artefact(folder).session
    golden = golden_of(Artefact(recipe, session), read_image(folder / "golden.png"))
    write_recipe(folder, replace(recipe, golden=golden), session)
