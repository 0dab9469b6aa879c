"""What is wrong, where, why and what to do: `Diagnostic`, and the `Report` that collects them.

Nothing raises for a user's mistake. A function that finds one returns its value as far as it got, and adds
a diagnostic. A diagnostic names the object and the field; file, line and column are looked up when it is
shown (`Locate`), so that moving a comment changes no value of the pipeline.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from dragoman.diagnostics import codes
from dragoman.refs import FieldPath, Origin, Ref


class Severity(enum.IntEnum):
    """How bad. Only `ERROR` makes `validate` exit with 1 (`--strict`: `WARNING` too)."""

    INFO = 10
    WARNING = 20
    ERROR = 30

    @property
    def label(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a text: 1-based line and column, `end_column` exclusive (0: unknown), and the line itself.

    Line 0 stands for the file as a whole.
    """

    file: str
    line: int
    column: int = 1
    end_column: int = 0
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


Locate = Callable[[Ref, FieldPath], Span | None]
"""Finds the text behind a field. For a path that is not there, the nearest ancestor that is."""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding. `code` is registered in `codes.py`; `message` is one sentence without a full stop.

    `label` stands behind the caret, `notes` below it, `help` is the hint. `ref` is None only for what
    stands in no object (a syntax error in a file), and then `span` is set. Two findings are the same only in
    the same place.
    """

    code: str
    message: str
    ref: Ref | None = None
    path: FieldPath = ()
    severity: Severity = Severity.ERROR
    label: str = ""
    notes: tuple[str, ...] = ()
    help: str = ""
    span: Span | None = None

    @property
    def sort_key(self) -> tuple[object, ...]:
        ref = self.ref or ("", "", "", "")
        file = (self.span.file, self.span.line) if self.span else ("", 0)
        path = tuple((0, step, "") if isinstance(step, int) else (1, 0, step) for step in self.path)
        return (file, tuple(ref), path, self.code, self.message)


def error(
    code: str, message: str, origin: Origin, *, label: str = "", help: str = "", notes: Iterable[str] = ()
) -> Diagnostic:
    """An error at `origin`."""
    return _make(code, message, origin, Severity.ERROR, label, help, notes)


def warning(
    code: str, message: str, origin: Origin, *, label: str = "", help: str = "", notes: Iterable[str] = ()
) -> Diagnostic:
    """A warning at `origin`: the object works, but not as its author may think."""
    return _make(code, message, origin, Severity.WARNING, label, help, notes)


def _make(
    code: str, message: str, origin: Origin, severity: Severity, label: str, help: str, notes: Iterable[str]
) -> Diagnostic:
    assert code in codes.CODES, code
    return Diagnostic(code, message, origin.ref, origin.path, severity, label, tuple(notes), help)


class Report:
    """A growing list of diagnostics without repetitions."""

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[Diagnostic] = ()) -> None:
        self._items: dict[Diagnostic, None] = dict.fromkeys(items)

    def add(self, diagnostic: Diagnostic) -> None:
        self._items[diagnostic] = None

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        self._items.update(dict.fromkeys(diagnostics))

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __bool__(self) -> bool:
        return bool(self._items)

    @property
    def worst(self) -> Severity | None:
        return max((item.severity for item in self._items), default=None)

    def sorted(self) -> list[Diagnostic]:
        """By file and line where known, then by object, field and code."""
        return sorted(self._items, key=lambda item: item.sort_key)

    def frozen(self) -> tuple[Diagnostic, ...]:
        return tuple(self._items)
