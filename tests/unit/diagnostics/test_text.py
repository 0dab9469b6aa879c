"""Reports for people: the frame, and the caret under the right columns whatever the line holds."""

from __future__ import annotations

import re
import unicodedata

import pytest

from dragoman.diagnostics import Severity, Span, text
from tests.unit.diagnostics.build import CART, LINE, everywhere, finding, spot


def test_everything_at_its_place() -> None:
    item = finding(
        label="expected 1 to 65535",
        notes=("it is one of two backends", "first line\nsecond line"),
        help="did you mean `port: 8080`?",
    )
    assert (
        text.one(item, everywhere(spot()))
        == """\
error[DRG1104]: the port is out of range
  --> shop/routes.yaml:12:30  HTTPRoute shop/cart
   |
12 |     - {name: checkout, port: 80800}
   |                              ^^^^^ expected 1 to 65535
   = note: it is one of two backends
   = note: first line
           second line
   = help: did you mean `port: 8080`?
"""
    )


def test_without_a_place_the_field_is_named() -> None:
    item = finding(label="expected 1 to 65535", help="take another")
    for locate in (None, everywhere(None)):
        assert (
            text.one(item, locate)
            == """\
error[DRG1104]: the port is out of range
 --> HTTPRoute shop/cart spec.rules[0].backendRefs[1].port
  = note: expected 1 to 65535
  = help: take another
"""
        )


def test_without_an_object_and_without_anything() -> None:
    span = Span("gone.yaml", 0)
    assert text.one(finding("cannot be read", code="DRG1002", ref=None, path=(), span=span)) == (
        "error[DRG1002]: cannot be read\n --> gone.yaml\n"
    )
    assert text.one(finding("no", code="DRG5001", ref=None, path=())) == "error[DRG5001]: no\n"


def test_an_empty_line_has_no_excerpt() -> None:
    span = Span("a.yaml", 7, 1, 0, "")
    assert text.one(finding(label="here"), everywhere(span)).splitlines()[1:] == [
        " --> a.yaml:7:1  HTTPRoute shop/cart",
        "  = note: here",
    ]


def test_the_frame_is_as_wide_as_the_number() -> None:
    for number in (1, 99, 1234):
        lines = text.one(finding(), everywhere(spot(line=number))).splitlines()
        assert lines[3].startswith(f"{number} | ")
        assert {line.index("|") for line in lines[2:]} == {len(str(number)) + 1}


@pytest.mark.parametrize(
    ("line", "marked"),
    [
        (LINE, "80800"),
        ("a: b", "a"),
        ("a: b", "b"),
        ("\tport: 80", "80"),
        ("ab\tport:\t80\t# x", "80"),
        ("abc\t\t80", "\t80"),
        ("name: 日本, port: 80", "80"),
        ("name: 日本語, port: 80", "本語"),
        ("e\u0301te\u0301: 80", "80"),
        ("x: größe: 80", "größe"),
        ("emoji: 😀 80", "80"),
        ("\x1b[31mred: 80", "80"),
        ("zero\u200bwidth: 80", "80"),
        ("right\u202eleft: 80", "80"),
    ],
)
def test_the_caret_is_under_the_word(line: str, marked: str) -> None:
    shown, carets = text.one(finding(), everywhere(spot(line, marked))).splitlines()[3:5]
    start = cells(carets[: carets.index("^")])
    found = cut(shown, start, start + carets.count("^"))
    assert found.strip() == marked.strip()
    assert "\t" not in shown
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf"}


def cells(text: str) -> int:
    return sum(map(cell, text))


def cell(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(line: str, start: int, end: int) -> str:
    """What stands in these columns of a terminal."""
    out, column = "", 0
    for character in line:
        if start <= column < end:
            out += character
        column += cell(character)
    return out


@pytest.mark.parametrize(
    ("column", "end", "caret"),
    [
        (0, 0, "^"),
        (1, 0, "^"),
        (3, 3, "  ^"),
        (3, 1, "  ^"),
        (4, 99, "   ^"),
        (5, 0, "    ^"),
        (99, 120, "    ^"),
    ],
)
def test_places_at_and_beyond_the_end_of_the_line(column: int, end: int, caret: str) -> None:
    report = text.one(finding(), everywhere(Span("a.yaml", 1, column, end, "a: b")))
    assert report.splitlines()[4] == f"  | {caret}"


@pytest.mark.parametrize("at", [0, 30, 69, 70, 100, 139, 140, 150, 500, 990])
@pytest.mark.parametrize("width", [1, 5, 69, 71, 300])
@pytest.mark.parametrize("filling", ["x", "日"])
def test_of_long_lines_the_part_around_the_caret(at: int, width: int, filling: str) -> None:
    line = filling * at + "M" * width + filling * (1000 - at)
    report = text.one(finding(label="here"), everywhere(Span("a.yaml", 1, at + 1, at + 1 + width, line)))
    shown, carets = (each.removeprefix("1 | ").removeprefix("  | ") for each in report.splitlines()[3:5])
    assert cells(shown) <= text.WIDTH
    assert shown.endswith(("…", filling * 10))
    start = carets.index("^")
    marks = carets.count("^")
    assert cut(shown, start, start + marks) == "M" * min(width, marks)
    assert marks == min(width, text.WIDTH // 2)


def test_what_would_drive_a_terminal_is_not_written() -> None:
    evil = "\x1b[2J\x07\u202e\u2028\r"
    item = finding(evil, ref=CART._replace(name=evil), path=(evil,), label=evil, notes=(evil,), help=evil)
    span = Span(f"{evil}.yaml", 1, 1, 0, f"a: {evil}")
    for report in (text.one(item), text.one(item, everywhere(span))):
        assert not set(report) & (set(evil) - {"[", "2", "J"})
        assert "\ufffd" in report


@pytest.mark.parametrize(
    ("severity", "word"), [(Severity.ERROR, "error"), (Severity.WARNING, "warning"), (Severity.INFO, "note")]
)
def test_severities_have_their_word_and_colour(severity: Severity, word: str) -> None:
    item = finding(severity=severity, label="here", notes=("a",), help="b")
    plain, coloured = (text.one(item, everywhere(spot()), colour=colour) for colour in (False, True))
    assert plain.startswith(f"{word}[DRG1104]: ")
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain
    assert coloured.count("\x1b[0m") == len(re.findall(r"\x1b\[[1-9][0-9;]*m", coloured))


def test_reports_and_summaries() -> None:
    items = [finding("a"), finding("b"), finding("c", severity=Severity.WARNING)]
    assert text.report([]) == ""
    assert text.report(items) == "".join(f"{text.one(item)}\n" for item in items)
    assert text.summary([]) == "no findings"
    assert text.summary(items) == "2 errors, 1 warning"
    assert text.summary([finding(severity=Severity.INFO)]) == "1 note"
    assert re.sub(r"\x1b\[[0-9;]*m", "", text.summary(items, colour=True)) == "2 errors, 1 warning"
