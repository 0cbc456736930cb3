"""The model card: what a network was trained on, how, and what was measured."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from training.config.checks import ConfigError
from training.config.data import DataConfig
from training.config.experiment import Config, DecodeConfig
from training.config.read import from_dict
from training.data.opening import DRAWN
from training.report import degraded_table
from training.report.repeat import UNKNOWN, commands, is_known
from training.report.sources import source_of

_THEIRS = f"`{UNKNOWN}` is a TOML file with the settings below, those of `--set` among them."

_AFTER = re.compile(r"after [\d,]+ steps")
"""Which weights of its run the card is about."""

_BY_THE_CLOCK = (
    "The run follows the clock, so a repetition on another machine takes other steps and lands "
    "close by, not on the same weights."
)


def write_card(
    config: Config,
    *,
    state: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
) -> str:
    """Write the card as Markdown.

    Parameters
    ----------
    config : Config
        The experiment.
    state : mapping
        ``step``, ``elapsed_s`` and ``parameters``.
    results : sequence of mapping
        What `training evaluate` recorded: ``title``, ``command`` and the figures of
        `training.metrics.score.Score.summary`.
    """
    source = source_of(config)
    parts = [
        f"# {config.name}",
        f"Finds every {' and '.join(config.classes)} in an image: method `{config.loss.method}`, "
        f"{state['parameters']:,} parameters, an embedding of {config.model.embedding_size} "
        f"dimensions at stride {config.model.embedding_stride}.",
        "## Data",
        source.text + _size(config),
        source.licence,
        "## Training",
        f"{_choice(config)} after {state['step']:,} steps of "
        f"{config.optim.batch} crops of {config.augment.crop} x {config.augment.width} pixels, "
        f"{state['elapsed_s'] / 60:.0f} minutes." + _beginning(config),
        "```\n" + "\n".join(commands(config)) + "\n```",
        *([] if is_known(config) else [_THEIRS]),
        *([_BY_THE_CLOCK] if config.optim.max_minutes > 0 else []),
        "## Settings",
        "```json\n" + _settings(config) + "\n```",
        "## Measured",
        *(_result(result) for result in results),
    ]
    return "\n\n".join(parts) + "\n"


def with_decode(card: str, decode: DecodeConfig) -> str:
    """Put other decoder settings into a card; one without settings stays as it is.

    Parameters
    ----------
    card : str
        As `write_card` gives it.
    decode : DecodeConfig
        What was tuned since.
    """
    before, settings, after = _parted(card)
    if not settings:
        return card
    changed = json.loads(settings) | {"decode": asdict(decode)}
    return before + json.dumps(changed, indent=1) + after


def with_words_of(before: str, card: str) -> str:
    """Keep what stands above the settings of a card, where sentences may be written by hand.

    Parameters
    ----------
    before : str
        The card so far; of one that tells of other steps, and so of other weights, nothing is kept.
    card : str
        As `write_card` gives it, with the settings and the figures of today.
    """
    words, kept, _ = _parted(before)
    now, settings, after = _parted(card)
    if not kept or _AFTER.findall(words) != _AFTER.findall(now):
        return card
    return words + settings + after


def data_of(card: str) -> DataConfig | None:
    """Give the settings of the data that a card states; None where it states none.

    Parameters
    ----------
    card : str
        As `write_card` gives it.

    Raises
    ------
    ConfigError
        If they are not what `write_card` writes.
    """
    stated = config_of(card, "data")
    return None if stated is None else stated.data


def config_of(card: str, *tables: str) -> Config | None:
    """Give those tables of the settings that a card states; None where it states none of them.

    Parameters
    ----------
    card : str
        As `write_card` gives it.
    *tables : str
        Such as ``model``; the others have their defaults.

    Raises
    ------
    ConfigError
        If they are not what `write_card` writes.
    """
    _, settings, _ = _parted(card)
    try:
        stated = json.loads(settings or "{}")
    except ValueError as error:
        raise ConfigError(f"the settings are not JSON: {error}") from error
    known = stated if isinstance(stated, dict) else {}
    asked = {table: known[table] for table in tables if known.get(table) is not None}
    return from_dict({"name": "card", **asked}) if asked else None


def _parted(card: str) -> tuple[str, str, str]:
    """Give what stands before the settings, the settings, empty where there are none, the rest."""
    before, fence, rest = card.partition("```json\n")
    settings, end, after = rest.partition("\n```")
    return (before + fence, settings, end + after) if end else (card, "", "")


def _choice(config: Config) -> str:
    if config.data.val or config.data.kind in DRAWN:
        return "Chosen on the validation data: the snapshot"
    return "The end of the run, which had no images to validate on:"


def _size(config: Config) -> str:
    if not config.data.resize:
        return ""
    height, width = config.data.resize
    return (
        f" Images were brought to {height} x {width} pixels, as they are by `training evaluate`. A "
        "server takes them as they come: ask it for the `scale` that makes them as large."
    )


def _beginning(config: Config) -> str:
    if not config.start:
        return ""
    return f" It began with the weights of `{config.start}` as an earlier run had left them."


def _settings(config: Config) -> str:
    keys = ("data", "model", "loss", "augment", "optim", "decode")
    return json.dumps({key: config.to_dict()[key] for key in keys}, indent=1)


def _result(result: Mapping[str, Any]) -> str:
    if degraded_table.is_degraded(result):
        return degraded_table.section([result], level=3)
    thresholds = list(result["ap"])
    head = "| IoU | " + " | ".join(thresholds) + " |"
    rule = "| --- |" + " --- |" * len(thresholds)
    rows = [
        f"| {name} | " + " | ".join(f"{result[key][t]:.3f}" for t in thresholds) + " |"
        for name, key in (
            ("AP, mean over images", "ap"),
            ("AP, pooled", "ap_pooled"),
            ("F1, pooled", "f1_pooled"),
        )
    ]
    rest = (
        f"Mean AP {result['mean_ap']:.3f} · PQ {result['pq']:.3f} · SBD {result['sbd']:.3f} · "
        f"FBD {result['fbd']:.3f} · mean absolute count error {result['abs_dic']:.2f}"
    )
    if "coco" in result:
        rest += f" · COCO AP {result['coco']['ap']:.3f}"
    if result["cut"]:
        rest += f" · {result['kept']} of {result['cut']} instances in pieces kept one id"
    title = f"### {result['title']}: {result['images']} images"
    return "\n".join([title, "", head, rule, *rows, "", rest, "", f"`{result['command']}`"])
