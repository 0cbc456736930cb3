"""What every table's check uses: its form, and the kinds of numbers in it."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import ConfigDict, Field

STRICT: Final = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
"""A table takes the keys it knows, of the types they have, and finite numbers alone."""

Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class ConfigError(ValueError):
    """A configuration that cannot be run: the message names the key."""


def require(condition: bool, message: str) -> None:  # noqa: FBT001 - the condition is the subject
    """Raise `ConfigError` unless the condition holds."""
    if not condition:
        raise ConfigError(message)
