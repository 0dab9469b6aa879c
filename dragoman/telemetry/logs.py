"""Logging: text for people, JSON for machines, and no secrets in either.

The runtime calls `configure` once. Everyone else uses the standard `logging.getLogger(__name__)` and gives
structured values as `extra=fields(...)`. Redaction works on the finished line, so tracebacks and foreign
libraries' messages go through it as well."""

from __future__ import annotations

import datetime
import logging
import re
import sys
from collections.abc import Mapping
from typing import IO, Any, Final, Literal

import orjson

REDACTED: Final = "[redacted]"

_PEM: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
_CREDENTIAL: Final = re.compile(
    r"(?ix) \b ( authorization | proxy-authorization | cookie | set-cookie | x-api-key | api[-_]?key"
    r" | password | client[-_]?secret | private[-_]?key | access[-_]?token | refresh[-_]?token | token )"
    r""" ( \\?["']? \s* [:=] \s* \\?["']? ) (?: (?:bearer|basic|digest) \s+ )? [^\s"',;}]+ """
)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}")


def redact(text: str) -> str:
    """`text` without PEM blocks, credentials behind their usual names, and bearer tokens."""
    if "-----BEGIN" in text:
        text = _PEM.sub(lambda m: f"[redacted {m[1].lower()}]", text)
    text = _CREDENTIAL.sub(lambda m: m[1] + m[2] + REDACTED, text)
    return _BEARER.sub(lambda m: f"{m[1]} {REDACTED}", text)


def fields(**values: Any) -> Mapping[str, Any]:
    """Structured values for a record: `log.info("applied", extra=fields(objects=3))`."""
    return {"fields": values}


class TextFormatter(logging.Formatter):
    """`12:03:04.123 INFO  xds: message  key=value`; colour only where a terminal reads it."""

    _COLOURS: Final = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "31;1"}

    def __init__(self, *, colour: bool = False) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.datetime.fromtimestamp(record.created).astimezone()
        level = record.levelname[:7].ljust(7)
        if self._colour and record.levelname in self._COLOURS:
            level = f"\033[{self._COLOURS[record.levelname]}m{level}\033[0m"
        where = record.name.removeprefix("dragoman.").split(".", 1)[0]
        # Further lines are indented: no message can pass for a record of its own.
        message = _CONTROL.sub("", record.getMessage().strip()).replace("\n", "\n    ")
        line = f"{moment:%H:%M:%S}.{int(record.msecs):03d} {level} {where}: {message}"
        for key, value in getattr(record, "fields", {}).items():
            line += f"  {key}={_word(value)}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return redact(line)


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time (RFC 3339, UTC), level, logger, message, and the record's fields."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(
                timespec="milliseconds"
            ),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        redacted = {key: redact(value) if isinstance(value, str) else value for key, value in line.items()}
        return orjson.dumps(redacted, default=lambda value: redact(str(value))).decode()


def configure(
    level: Literal["debug", "info", "warning", "error"] = "info",
    format: Literal["text", "json"] = "text",
    stream: IO[str] | None = None,
) -> None:
    """Sets the root logger up, replacing what was there. `stream` None is stderr."""
    out = stream if stream is not None else sys.stderr
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter(colour=out.isatty()))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    # Chatty below warnings, and not about us.
    for noisy in ("asyncio", "aiohttp.access", "grpc"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return f'"{text}"' if " " in text or not text else text
