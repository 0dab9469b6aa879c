"""Reports for programs: one plain mapping per diagnostic, ready for JSON. Called by the command line and
the API.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dragoman.diagnostics import place
from dragoman.diagnostics.model import Diagnostic, Locate, Span
from dragoman.refs import format_path


def report(diagnostics: Iterable[Diagnostic], locate: Locate | None = None) -> list[dict[str, Any]]:
    """All diagnostics in the order of their places. Each has every key; what is not known is null, 0
    columns too.
    """
    return [one(item, span) for item, span in place.placed(diagnostics, locate)]


def one(item: Diagnostic, span: Span | None) -> dict[str, Any]:
    """`line`, `column` and `endColumn` (exclusive) count characters from 1."""
    line = span.line if span is not None and span.line else None
    return {
        "code": item.code,
        "severity": item.severity.label,
        "message": item.message,
        "object": item.ref._asdict() if item.ref is not None else None,
        "path": format_path(item.path),
        "file": span.file if span is not None else None,
        "line": line,
        "column": span.column if span is not None and line else None,
        "endColumn": span.end_column if span is not None and line and span.end_column else None,
        "label": item.label,
        "notes": list(item.notes),
        "help": item.help,
        "doc": doc(item.code),
    }


def doc(code: str) -> str:
    """The page about a code, relative to the project's root."""
    return f"docs/diagnostics/{code}.md"
