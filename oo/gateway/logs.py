"""The gateway's own log, on standard error: a line each, as text or as JSON."""

from __future__ import annotations

import json
import logging
import sys
import time

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
ACCESS = "oo.access"
"""The logger of the lines that `--access-log` asks for, whatever the level of others."""
FIELDS = "fields"
"""The attribute of a record with further fields of its object."""
_LOGGER = "oo"


class TextLines(logging.Formatter):
    """`oo: message`, in one line whatever the message is."""

    def format(self, record: logging.LogRecord) -> str:
        return f"oo: {_message(record)}"


class JSONLines(logging.Formatter):
    """An object a line: `time`, `level`, `logger`, `message`."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}+00:00",
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": _message(record),
            **getattr(record, FIELDS, {}),
        }
        return json.dumps(fields)


def configure(log_format: str, level: str) -> None:
    """Write what the loggers below `oo` say from that level on, and warnings of any other, to standard error. May be
    called again, with another level."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONLines() if log_format == "json" else TextLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(_LOGGER).setLevel(level.upper())
    logging.getLogger(ACCESS).setLevel(logging.INFO)
    logging.captureWarnings(capture=True)


def say(message: str, fields: dict[str, str]) -> None:
    """Write a line of the gateway's own, whatever the level: as text, or as JSON with these fields."""
    logging.getLogger(ACCESS).info("%s", message, extra={FIELDS: fields})


def _message(record: logging.LogRecord) -> str:
    """What a record says, in one line. A warning of Python's comes as a whole line of the command's."""
    text = record.getMessage().strip().removeprefix("oo: ")
    return text if "\n" not in text else " ".join(text.split("\n"))
