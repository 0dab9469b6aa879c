"""Reports for code scanning: SARIF 2.1.0 (OASIS), as GitHub, GitLab and editors read it. Called by the
command line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import dragoman
from dragoman.diagnostics import codes, data, place
from dragoman.diagnostics.model import Diagnostic, Locate, Severity, Span
from dragoman.refs import format_path

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"

_LEVELS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def report(diagnostics: Iterable[Diagnostic], locate: Locate | None = None) -> dict[str, Any]:
    """One log with one run: the registry's codes as rules, the diagnostics as results, in the order of
    their places.
    """
    numbers = {code: number for number, code in enumerate(codes.CODES)}
    rules = [
        {
            "id": code,
            "shortDescription": {"text": meaning},
            "help": {"text": f"See {data.doc(code)}", "markdown": f"See [{code}]({data.doc(code)})"},
        }
        for code, meaning in codes.CODES.items()
    ]
    results = [_result(item, span, numbers) for item, span in place.placed(diagnostics, locate)]
    driver = {"name": "dragoman", "version": dragoman.__version__, "rules": rules}
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(item: Diagnostic, span: Span | None, numbers: dict[str, int]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": item.code,
        "ruleIndex": numbers[item.code],
        "level": _LEVELS[item.severity],
        "message": {"text": _message(item)},
        "partialFingerprints": {"dragoman/v1": _fingerprint(item, span)},
    }
    location: dict[str, Any] = {}
    if span is not None:
        location["physicalLocation"] = _physical(span)
    if item.ref is not None:
        name = f"{item.ref} {format_path(item.path)}".rstrip()
        location["logicalLocations"] = [{"name": item.ref.name, "fullyQualifiedName": name, "kind": "object"}]
    if location:
        result["locations"] = [location]
    return result


def _message(item: Diagnostic) -> str:
    label = f" ({item.label})" if item.label else ""
    lines = [f"{item.message}{label}", *item.notes]
    return "\n".join([*lines, f"help: {item.help}"] if item.help else lines)


def _physical(span: Span) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": _uri(span.file)}}
    if span.line:
        region = {"startLine": span.line, "startColumn": max(span.column, 1)}
        if span.end_column > span.column:
            region["endColumn"] = span.end_column
        place["region"] = region
    return place


def _uri(file: str) -> str:
    path = Path(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())


def _fingerprint(item: Diagnostic, span: Span | None) -> str:
    """The same finding in the next run, wherever its line has moved to."""
    file = span.file if span is not None and item.ref is None else ""
    text = "\0".join((item.code, str(item.ref or file), format_path(item.path), item.message))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
