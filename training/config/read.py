"""From TOML or plain values to an experiment, every key and type checked."""

from __future__ import annotations

import dataclasses
import tomllib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from training.config.checks import ConfigError, require
from training.config.experiment import Config


def from_dict(raw: Mapping[str, Any]) -> Config:
    """Build a configuration from plain values.

    Raises
    ------
    ConfigError
        If a key is unknown or missing, or a value does not fit.
    """
    built = _build(Config, raw, "")
    assert isinstance(built, Config)  # noqa: S101 - narrows the type
    return built


def load(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a TOML file and apply ``key.path=value`` overrides.

    Parameters
    ----------
    path : Path
        The file.
    overrides : sequence of str
        Values are read as TOML, or as text where that fails.
    """
    raw = tomllib.loads(path.read_text())
    for item in overrides:
        key, separator, text = item.partition("=")
        require(bool(separator), f"override {item!r}: must read key=value")
        *parents, last = key.strip().split(".")
        node = raw
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = _literal(text.strip())
    return from_dict(raw)


def _literal(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _build(kind: type[Any], raw: Mapping[str, Any], path: str) -> Any:
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(raw) - set(hints))
    require(not unknown, f"unknown key {path}{unknown[0] if unknown else ''}")
    values = {name: _convert(hints[name], value, f"{path}{name}") for name, value in raw.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"{path or 'config'}: {error}") from error


def _convert(hint: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(hint):
        require(isinstance(value, Mapping), f"{path}: must be a table")
        return _build(typing.cast(type[Any], hint), value, f"{path}.")
    origin = typing.get_origin(hint)
    if origin is tuple:
        require(isinstance(value, (list, tuple)), f"{path}: must be a list")
        return tuple(_convert(get_args(hint)[0], item, path) for item in value)
    if origin is None and isinstance(hint, type):
        if hint is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        fits = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
        require(fits, f"{path}: {value!r} is not of type {hint.__name__}")
    return value
