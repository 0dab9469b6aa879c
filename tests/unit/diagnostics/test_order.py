"""Which findings are the same, in which order they are read, and where they stand."""

from __future__ import annotations

import random

import pytest

from dragoman import diagnostics
from dragoman.diagnostics import Report, Severity, Span, codes, data, place
from tests.unit.diagnostics.build import CART, ORIGIN, everywhere, finding, spot


def test_a_report_says_everything_once() -> None:
    report = Report([finding("a"), finding("b"), finding("a")])
    report.add(finding("b"))
    report.extend([finding("c"), finding("a")])
    assert [item.message for item in report] == ["a", "b", "c"]
    assert (len(report), bool(report), bool(Report())) == (3, True, False)
    assert report.frozen() == tuple(report)


def test_the_same_mistake_in_two_files_is_two_findings() -> None:
    items = [
        finding("not YAML", code="DRG1001", ref=None, path=(), span=Span(file, line))
        for file, line in (("a.yaml", 1), ("a.yaml", 9), ("b.yaml", 1))
    ]
    assert len(Report(items * 2)) == 3


def test_the_worst() -> None:
    assert Report().worst is None
    assert Report([finding(severity=Severity.INFO)]).worst is Severity.INFO
    both = Report(
        [finding("a", severity=Severity.WARNING), finding("b"), finding("c", severity=Severity.INFO)]
    )
    assert both.worst is Severity.ERROR
    assert place.counted(both) == {Severity.ERROR: 1, Severity.WARNING: 1, Severity.INFO: 1}
    assert list(place.counted(both)) == [Severity.ERROR, Severity.WARNING, Severity.INFO]


def test_without_places_by_object_and_field_with_numbers_as_numbers() -> None:
    other = CART._replace(name="zoo")
    expected = [
        finding(path=("spec", "rules", 2)),
        finding("a", path=("spec", "rules", 10)),
        finding("b", path=("spec", "rules", 10)),
        finding(path=("spec", "rules", 10), code="DRG2003"),
        finding(path=("spec", "rules", "10")),
        finding(path=("spec", "rules", "x")),
        finding(ref=other, path=("metadata",)),
    ]
    for seed in range(20):
        items = random.Random(seed).sample(expected, len(expected))
        assert Report(items).sorted() == expected
        assert [item for item, _ in place.placed(items, None)] == expected


def test_with_places_by_file_line_and_column_and_the_worst_first() -> None:
    spans = {
        ("a",): Span("a.yaml", 2, 1),
        ("b",): Span("a.yaml", 10, 1),
        ("c",): Span("a.yaml", 10, 7),
        ("d",): Span("b.yaml", 1, 1),
    }
    expected = [
        finding("nowhere", path=("x",)),
        *(finding(path=path) for path in [("a",), ("b",)]),
        finding(path=("c",)),
        finding("less", path=("c",), severity=Severity.WARNING, code="DRG1001"),
        finding(path=("d",)),
    ]
    for seed in range(20):
        items = random.Random(seed).sample(expected, len(expected))
        found = place.placed(items, lambda ref, path: spans.get(path))  # type: ignore[arg-type]
        assert [item for item, _ in found] == expected


def test_a_span_of_its_own_comes_before_looking_one_up() -> None:
    own, other = Span("own.yaml", 1), everywhere(Span("other.yaml", 2))
    assert place.find(finding(span=own), other) == own
    assert place.find(finding(), other) == Span("other.yaml", 2)
    assert place.find(finding(ref=None), other) is None


@pytest.mark.parametrize(
    ("text", "value", "column", "end"),
    [
        ("  hostname: [a]", "[a]", 3, 11),
        ('  {"hostname": 1, b: 2}', "1", 4, 14),
        ("  {hostname: 1, x-hostname: 1}", "1", 4, 12),
        ("  - {a.hostname: 0, hostname : 7}", "7", 21, 29),
        ("  value alone", "alone", 9, 14),
    ],
)
def test_an_unknown_field_is_marked_by_its_name(text: str, value: str, column: int, end: int) -> None:
    item = finding(code="DRG1101", path=("spec", "hostname"))
    span = place.find(item, everywhere(spot(text, value)))
    assert span is not None
    assert (span.column, span.end_column) == (column, end)
    assert place.find(finding(path=("spec", "hostname")), everywhere(spot(text, value))) == spot(text, value)


def test_errors_and_warnings_at_an_origin() -> None:
    error = diagnostics.error("DRG1104", "no", ORIGIN, label="l", help="h", notes=["n"])
    assert error == finding("no", label="l", help="h", notes=("n",))
    assert diagnostics.warning("DRG1104", "no", ORIGIN).severity is Severity.WARNING
    with pytest.raises(AssertionError):
        diagnostics.error("DRG0000", "no such code", ORIGIN)


def test_codes_are_meanings_without_a_full_stop() -> None:
    for code, meaning in codes.CODES.items():
        assert code.startswith("DRG")
        assert code[3:].isdigit()
        assert meaning
        assert not meaning.endswith(".")
    assert len(set(codes.CODES.values())) == len(codes.CODES)


def test_plain_data() -> None:
    (one,) = data.report([finding(label="l", notes=("n",), help="h")], everywhere(spot()))
    assert one == {
        "code": "DRG1104",
        "severity": "error",
        "message": "the port is out of range",
        "object": {"group": CART.group, "kind": "HTTPRoute", "namespace": "shop", "name": "cart"},
        "path": "spec.rules[0].backendRefs[1].port",
        "file": "shop/routes.yaml",
        "line": 12,
        "column": 30,
        "endColumn": 35,
        "label": "l",
        "notes": ["n"],
        "help": "h",
        "doc": "docs/diagnostics/DRG1104.md",
    }


@pytest.mark.parametrize("span", [None, Span("a.yaml", 0)])
def test_plain_data_without_a_line(span: Span | None) -> None:
    (one,) = data.report([finding(ref=None, path=(), span=span)])
    assert one["file"] == (span.file if span else None)
    assert [one[key] for key in ("object", "line", "column", "endColumn")] == [None] * 4
    assert (one["path"], one["notes"]) == ("", [])
