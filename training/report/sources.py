"""Where training data come from and under which licence: what a model card has to say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from training.config.experiment import Config

_OURS = "weights under the project's licence"


@dataclass(frozen=True, slots=True)
class Source:
    """A data set.

    Parameters
    ----------
    text : str
        What it is and who made it; may name settings of the data in braces.
    licence : str
        Of the data.
    """

    text: str
    licence: str


_DRAWN = "No outside data"
_DSB2018 = Source(
    "Nuclei of the Data Science Bowl 2018, stage 1 (BBBC038v1, Caicedo et al., Nature Methods "
    "16, 2019): fluorescence, bright-field and stained tissue. {lists}; masks from the first "
    "of {labels} that has them.",
    "Data CC0 (public domain)",
)
_USIIGACI = Source(
    "Label-free cells in phase contrast (Usiigaci, Tsai et al., SoftwareX 9, 2019): 50 images, of "
    "which the authors' five validation images are the test list. {lists}. Not every cell is "
    "annotated, and images of one series look alike.",
    "Data MIT",
)

FOLDERS: Mapping[str, Source] = MappingProxyType(
    {"nuclei": _DSB2018, "nuclei-fast": _DSB2018, "compare": _DSB2018, "cells-phase": _USIIGACI}
)
"""The project's experiments that read a plain folder, which does not say what it holds."""

KINDS: Mapping[str, Source] = MappingProxyType(
    {
        "folder": Source(
            "Images and label maps of a folder. {lists}. Whoever trained this model has to "
            "add where they come from.",
            "Licence of the data not stated",
        ),
        "kaggle": _DSB2018,
        "cvppp": Source(
            "Leaves of plants (CVPPP leaf segmentation challenge; Minervini et al., Pattern "
            "Recognition Letters 81, 2016).",
            "Data under the challenge's terms, for research",
        ),
        "cityscapes": Source(
            "Street scenes (Cityscapes; Cordts et al., CVPR 2016), fine annotations. {lists}.",
            "Data under the terms of Cityscapes, not for commercial use",
        ),
        "coco": Source(
            "Images described in COCO's format. {lists}. Whoever trained this model has to "
            "add where they come from.",
            "Licence of the data not stated",
        ),
        "sticks": Source(
            "Drawn scenes of {low} to {high} scattered sticks on {size} x {size} pixels "
            "(`training/data/synthetic.py`), after section 3.3 of arXiv:1708.02551. Every training "
            "image is new; validation images have their own seed.",
            _DRAWN,
        ),
        "nuclei": Source(
            "Drawn fields of nuclei (`training/data/synthetic.py`), {size} x {size} pixels.", _DRAWN
        ),
    }
)
"""By layout, or by what is drawn."""


def source_of(config: Config) -> Source:
    """Say where the data of an experiment come from, as whole sentences."""
    data = config.data
    source = KINDS[data.kind]
    if data.kind == "folder":
        source = FOLDERS.get(config.name, source)
    text = source.text.format(
        lists=f"Lists `{data.train}` (training) and `{data.val}` (validation)"
        if data.val
        else f"List `{data.train}` (training)",
        labels=" and ".join(f"`{name}`" for name in data.labels),
        low=data.min_objects,
        high=data.max_objects,
        size=data.image_size,
    )
    if data.drawn:
        text += f" {data.drawn} drawn fields of nuclei (`training/data/synthetic.py`) joined them."
    return Source(text, f"{source.licence}; {_OURS}.")
