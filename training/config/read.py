"""From TOML or plain values to an experiment, every key, type and range checked."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
import typing
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from training.config.checks import ConfigError, require
from training.config.experiment import Config

_CONFIG: Final = TypeAdapter(Config)


def from_dict(raw: Mapping[str, Any]) -> Config:
    """Build a configuration from plain values.

    Raises
    ------
    ConfigError
        If a key is unknown or missing, or a value does not fit: a line for each.
    """
    try:
        # By way of JSON, whose lists pass as tuples; it has no dates, which no key takes.
        return _CONFIG.validate_json(json.dumps(raw, default=str))
    except ValidationError as error:
        raise explained(error) from error


def explained(error: ValidationError) -> ConfigError:
    """Say what is wrong with values that do not fit: a line for each."""
    lines = [_sentence(one) for one in error.errors()]
    return ConfigError("\n".join(dict.fromkeys(lines)))


def load(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a TOML file and apply ``key.path=value`` overrides.

    Parameters
    ----------
    path : Path
        The file.
    overrides : sequence of str
        Values are read as TOML, or as text where that fails.

    Raises
    ------
    ConfigError
        As `from_dict` does, and if the file cannot be read or is not TOML.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    for item in overrides:
        key, separator, text = item.partition("=")
        require(bool(separator), f"override {item!r}: must read key=value")
        *parents, last = key.strip().split(".")
        node = raw
        for part in parents:
            node = node.setdefault(part, {})
            require(isinstance(node, dict), f"override {item!r}: {part} is no table")
        node[last] = _literal(text.strip())
    return from_dict(raw)


def _literal(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def as_literal(value: object) -> str:
    """Write a value as `load` reads it in an override."""
    # Lists, numbers and quoted text are the same in JSON and in TOML.
    plain = isinstance(value, str) and _literal(value.strip()) == value
    return str(value) if plain else json.dumps(value)


def _sentence(error: ErrorDetails) -> str:
    """Say what is wrong with one key, and what would be right."""
    key = ".".join(map(str, error["loc"]))
    match error["type"]:
        case "value_error":  # of a table's own check, which names the key itself
            return str(error["ctx"]["error"])
        case "unexpected_keyword_argument":
            *parents, name = map(str, error["loc"])
            near = get_close_matches(name, _keys(parents), n=1)
            return f"unknown key {key}" + (f"; is {near[0]} meant?" if near else "")
        case "missing" | "missing_argument":
            return f"{key}: is missing"
        case "dataclass_type":
            return f"{key}: must be a table, not {error['input']!r}"
        case _:
            what = re.sub("^(Input|String) should", "must", error["msg"])
            return f"{key}: {what}, not {error['input']!r}"


def _keys(parents: Sequence[str]) -> list[str]:
    """Name the keys of a table."""
    table: type[Any] = Config
    for name in parents:
        table = typing.get_type_hints(table)[name]
    return [field.name for field in dataclasses.fields(table)]
