"""Where diagnostics stand: looks up their spans and puts them in reading order, for all forms of a report."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Final

from dragoman.diagnostics.model import Diagnostic, Locate, Severity, Span

ABOUT_KEYS: Final = frozenset({"DRG1101"})
"""Codes that mean the field's name, not its value."""


def find(diagnostic: Diagnostic, locate: Locate | None) -> Span | None:
    """The place of a diagnostic, None where nobody knows it."""
    if diagnostic.span is not None:
        return diagnostic.span
    if diagnostic.ref is None or locate is None:
        return None
    span = locate(diagnostic.ref, diagnostic.path)
    if span is not None and diagnostic.code in ABOUT_KEYS and diagnostic.path:
        return _key(span, str(diagnostic.path[-1]))
    return span


def placed(diagnostics: Iterable[Diagnostic], locate: Locate | None) -> list[tuple[Diagnostic, Span | None]]:
    """Diagnostics with their spans: those without a place first, then by file, line and column; worst
    first.
    """
    found = [(item, find(item, locate)) for item in diagnostics]
    found.sort(key=lambda pair: _order(*pair))
    return found


def counted(diagnostics: Iterable[Diagnostic]) -> dict[Severity, int]:
    """How many there are of each severity, worst first; severities that do not occur are left out."""
    counts = dict.fromkeys(sorted(Severity, reverse=True), 0)
    for item in diagnostics:
        counts[item.severity] += 1
    return {severity: count for severity, count in counts.items() if count}


def _order(item: Diagnostic, span: Span | None) -> tuple[object, ...]:
    place = (span.file, span.line, span.column) if span is not None else ("", 0, 0)
    return (*place, -item.severity, item.sort_key)


def _key(span: Span, name: str) -> Span:
    """The key before a value in the same line."""
    pattern = rf"(?<![\w.-])[\"']?{re.escape(name)}[\"']?(?=\s*:)"
    matches = list(re.finditer(pattern, span.text[: span.column - 1]))
    if not matches:
        return span
    match = matches[-1]
    return dataclasses.replace(span, column=match.start() + 1, end_column=match.end() + 1)
