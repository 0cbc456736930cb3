"""What every table's check uses."""


class ConfigError(ValueError):
    """A configuration that cannot be run: the message names the key."""


def require(condition: bool, message: str) -> None:  # noqa: FBT001 - the condition is the subject
    """Raise `ConfigError` unless the condition holds."""
    if not condition:
        raise ConfigError(message)
