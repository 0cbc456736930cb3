"""Logs: one line a record, JSON for machines, short text for people."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Literal

import orjson


class JsonFormatter(logging.Formatter):
    """One JSON object a line; the mapping in ``extra={"fields": …}`` joins it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class HumanFormatter(logging.Formatter):
    """Time, level, message, then the fields as ``name=value``; below them a traceback."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of text."""
        fields = getattr(record, "fields", {})
        line, end, traceback = super().format(record).partition("\n")
        return " ".join((line, *(f"{k}={v}" for k, v in fields.items()))) + end + traceback


def configure_logging(level: str, style: Literal["auto", "json", "human"]) -> None:
    """Send every log record to standard error in one format.

    Parameters
    ----------
    level : str
        Least severe level to write, such as ``"info"``.
    style : {'auto', 'json', 'human'}
        ``auto`` is ``human`` on a terminal and ``json`` elsewhere.
    """
    if style == "auto":
        style = "human" if sys.stderr.isatty() else "json"
    handler = logging.StreamHandler()
    handler.setFormatter(HumanFormatter() if style == "human" else JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = name != "uvicorn.access"  # our own line per request says more
