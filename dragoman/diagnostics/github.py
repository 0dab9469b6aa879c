"""Reports for GitHub Actions: workflow commands that show up as annotations on a pull request's lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from dragoman.diagnostics import place
from dragoman.diagnostics.model import Diagnostic, Locate, Severity, Span

_COMMANDS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def report(diagnostics: Iterable[Diagnostic], locate: Locate | None = None) -> str:
    """One line `::error file=...,line=...,col=...::message` per diagnostic, each with its line end."""
    return "".join(f"{_command(item, span)}\n" for item, span in place.placed(diagnostics, locate))


def _command(item: Diagnostic, span: Span | None) -> str:
    properties: dict[str, str] = {}
    if span is not None:
        properties["file"] = span.file
        if span.line:
            properties |= {"line": str(span.line), "col": str(span.column)}
            if span.end_column > span.column:
                properties["endColumn"] = str(span.end_column)
    properties["title"] = f"{item.code} {item.ref}" if item.ref is not None else item.code
    words = [f"{item.message}: {item.label}" if item.label else item.message, *item.notes]
    if item.help:
        words.append(f"help: {item.help}")
    listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{_COMMANDS[item.severity]} {listed}::{_data(chr(10).join(words))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
