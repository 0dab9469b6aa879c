"""Reports for people, in the manner of rustc: what is wrong, the line with a caret under the place, notes,
a hint.

    error[DRG1104]: port 80800 of backend `checkout` is out of range
      --> shop/routes.yaml:12:30  HTTPRoute shop/checkout
       |
    12 |     - {name: checkout, port: 80800}
       |                              ^^^^^ expected 1 to 65535
       = help: Service shop/checkout exposes 8080 (http); did you mean `port: 8080`?

Returns text and prints nothing; whether it is coloured the caller says. Characters that would drive a
terminal are shown as U+FFFD: the lines are other people's. Called by the command line and the log.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final

from dragoman.diagnostics import place
from dragoman.diagnostics.model import Diagnostic, Locate, Severity, Span
from dragoman.refs import format_path

TAB: Final = 4
WIDTH: Final = 140
"""Columns of a source line that are shown; of longer ones the part around the caret."""

_RESET = "\x1b[0m"
_BOLD = "\x1b[1m"
_BLUE = "\x1b[1;34m"
_COLOURS: Final = {Severity.ERROR: "\x1b[1;31m", Severity.WARNING: "\x1b[1;33m", Severity.INFO: "\x1b[1;36m"}


def report(diagnostics: Iterable[Diagnostic], locate: Locate | None = None, *, colour: bool = False) -> str:
    """All diagnostics in the order of their places, an empty line after each. "" where there are none."""
    return "".join(
        _one(item, span, _Paint(item.severity, colour)) + "\n"
        for item, span in place.placed(diagnostics, locate)
    )


def one(diagnostic: Diagnostic, locate: Locate | None = None, *, colour: bool = False) -> str:
    """A single diagnostic; ends with a line end."""
    return _one(diagnostic, place.find(diagnostic, locate), _Paint(diagnostic.severity, colour))


def summary(diagnostics: Iterable[Diagnostic], *, colour: bool = False) -> str:
    """`2 errors, 1 warning`, or `no findings`. One line without a line end."""
    counts = place.counted(diagnostics)
    if not counts:
        return "no findings"
    parts = [
        _Paint(severity, colour).severity(f"{count} {_name(severity)}{'s' if count > 1 else ''}")
        for severity, count in counts.items()
    ]
    return ", ".join(parts)


class _Paint:
    """Colours, or none."""

    def __init__(self, severity: Severity, active: bool) -> None:
        self._colour = _COLOURS[severity]
        self._active = active

    def severity(self, text: str) -> str:
        return self._wrap(self._colour, text)

    def strong(self, text: str) -> str:
        return self._wrap(_BOLD, text)

    def frame(self, text: str) -> str:
        return self._wrap(_BLUE, text)

    def _wrap(self, code: str, text: str) -> str:
        return f"{code}{text}{_RESET}" if self._active and text else text


def _name(severity: Severity) -> str:
    return "note" if severity is Severity.INFO else severity.label


def _one(item: Diagnostic, span: Span | None, paint: _Paint) -> str:
    message = _clean(item.message)
    out = [f"{paint.severity(f'{_name(item.severity)}[{item.code}]')}{paint.strong(f': {message}')}"]
    gutter = len(str(span.line)) if span is not None and span.line else 1
    pad = " " * gutter
    owner = _clean(str(item.ref)) if item.ref is not None else ""
    if span is not None:
        out.append(f"{pad}{paint.frame('-->')} {_clean(str(span))}{'  ' if owner else ''}{owner}")
    elif item.ref is not None:
        out.append(f"{pad}{paint.frame('-->')} {owner} {_clean(format_path(item.path))}".rstrip())
    if span is not None and span.line and span.text:
        bar = paint.frame(f"{pad} |")
        line, caret, width = _excerpt(span)
        out += [bar, f"{paint.frame(f'{span.line} |')} {line}".rstrip()]
        label = f" {_clean(item.label)}" if item.label else ""
        out.append(f"{bar} {' ' * caret}{paint.severity('^' * width + label)}")
        first = f"{pad} {paint.frame('=')} "
    else:
        first = f"{pad} {paint.frame('=')} "
        if item.label:
            out.append(f"{first}{paint.strong('note')}: {_clean(item.label)}")
    for word, text in [
        *(("note", note) for note in item.notes),
        *([("help", item.help)] if item.help else []),
    ]:
        head, *more = text.rstrip().split("\n") or [""]
        out.append(f"{first}{paint.strong(word)}: {_clean(head)}")
        out += [f"{pad}   {' ' * len(word)}  {_clean(line)}" for line in more]
    return "\n".join(out) + "\n"


def _excerpt(span: Span) -> tuple[str, int, int]:
    """The source line as it is shown, and where the caret stands under it: columns before it, and its
    width.
    """
    text = span.text.rstrip()
    start = min(max(span.column, 1) - 1, len(text))
    end = min(max(span.end_column - 1, start + 1), max(len(text), start + 1))
    before, marked, after = _shown(text[:start]), _shown(text[start:end], _cells(text[:start])), ""
    after = _shown(text[end:], _cells(text[:end]))
    caret, width = _width(before), max(_width(marked), 1)
    if caret + width + _width(after) <= WIDTH:
        return before + marked + after, caret, width
    keep = WIDTH // 2
    if width > keep:
        marked, after, width = _cut(marked, keep), "…", keep
    if caret > keep // 2:
        before = "…" + _cut(before[::-1], keep // 2)[::-1]
        caret = _width(before)
    room = WIDTH - caret - width
    if _width(after) > room:
        after = _cut(after, room - 1) + "…"
    return before + marked + after, caret, width


def _shown(text: str, column: int = 0) -> str:
    """Tabs as spaces up to the next stop, the rest made harmless."""
    out: list[str] = []
    for character in text:
        if character == "\t":
            out.append(" " * (TAB - column % TAB))
            column += TAB - column % TAB
        else:
            character = _clean(character)
            out.append(character)
            column += _cell(character)
    return "".join(out)


def _clean(text: str) -> str:
    """Without control characters and bidirectional overrides; line ends become spaces."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        " " if c == "\n" else "\ufffd" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c
        for c in text
    )


def _cells(text: str) -> int:
    return _width(_shown(text))


def _width(text: str) -> int:
    return len(text) if text.isascii() else sum(map(_cell, text))


def _cell(character: str) -> int:
    """How many columns of a terminal a character takes."""
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _cut(text: str, width: int) -> str:
    out: list[str] = []
    for character in text:
        width -= _cell(character)
        if width < 0:
            break
        out.append(character)
    return "".join(out)
