"""The commands that make a model again, from what its checkpoint knows of the experiment."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from training.config.experiment import Config
from training.config.read import as_literal, load
from training.data.opening import DRAWN

CONFIGS = Path(__file__).parents[1] / "configs"
"""Where the files of the experiments are."""

UNKNOWN = "CONFIG"
"""Stands for the file of an experiment that is not among them."""


def commands(config: Config) -> list[str]:
    """Give them in order: train, tune where there is something to tune on, export."""
    run = f"runs/{config.name}"
    drawn = config.data.kind in DRAWN
    data = "" if drawn else " --data DIR"
    written = _as_written(config)
    file = f"training/configs/{config.name}.toml" if is_known(config) else UNKNOWN
    # Settings that stand in the file of the experiment are not searched for again.
    found, given = (replace(c.decode, score_calibration=()) for c in (config, written))
    minutes = config.optim.max_minutes
    clock = f" --max-minutes {minutes:g}" if minutes > 0 else ""
    tune = f"python -m training tune {run}/best.pt{data}{' --keep' if found == given else ''}"
    return [
        f"python -m training train {file}{data}{clock}{_overrides(config, written)}",
        *([tune] if drawn or config.data.val else []),
        f"python -m training export {run}/best.pt",
    ]


def is_known(config: Config) -> bool:
    """Tell whether the experiment has a file in `CONFIGS`."""
    return _file_of(config).is_file()


def _file_of(config: Config) -> Path:
    return CONFIGS / f"{config.name}.toml"


def _as_written(config: Config) -> Config:
    """Give the experiment as its file has it; one without a file has nothing but its name."""
    return load(_file_of(config)) if is_known(config) else Config(name=config.name)


def _overrides(config: Config, written: Config) -> str:
    """Give what `--set` changed; where the file is not known, the weights it began with alone."""
    given, before = (dict(_flat(c.to_dict())) for c in (config, written))
    if config.optim.max_minutes > 0:  # which has an argument of its own
        before["optim.max_minutes"] = config.optim.max_minutes
    changed = [
        f"{key}={as_literal(value)}"
        for key, value in given.items()
        if before[key] != value and (is_known(config) or key == "start")
    ]
    return "".join(f" --set {shlex.quote(item)}" for item in changed)


def _flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Give every setting by its whole name, but those of `decode`: they are searched for later."""
    for key, value in table.items():
        if key == "decode":
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield above + key, value
