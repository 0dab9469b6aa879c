"""Reports for programs: SARIF 2.1.0 and GitHub's workflow commands."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from dragoman.diagnostics import Diagnostic, Severity, Span, codes, github, sarif
from tests.unit.diagnostics.build import CART, everywhere, finding, spot

# SARIF


def only(item: Diagnostic, span: Span | None = None) -> dict[str, Any]:
    """The one result of a log that is sound."""
    log = sarif.report([item], everywhere(span))
    sound(log)
    (result,) = log["runs"][0]["results"]
    return dict(result)


def sound(log: dict[str, Any]) -> None:
    """What section 3 of the specification asks of the parts that are there."""
    orjson.dumps(log)
    assert log["version"] == "2.1.0"
    assert log["$schema"].startswith("https://")
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"]
    rules = [rule["id"] for rule in driver["rules"]]
    assert len(set(rules)) == len(rules)
    assert all(rule["shortDescription"]["text"] and rule["help"]["text"] for rule in driver["rules"])
    assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("none", "note", "warning", "error")
        assert result["message"]["text"]
        for location in result.get("locations", ()):
            physical = location.get("physicalLocation")
            if physical is None:
                continue
            assert re.fullmatch(r"[A-Za-z0-9._~%!$&'()*+,;=@/:-]+", physical["artifactLocation"]["uri"])
            region = physical.get("region")
            if region is not None:
                assert region["startLine"] >= 1
                assert region["startColumn"] >= 1
                assert region.get("endColumn", region["startColumn"] + 1) > region["startColumn"]


def test_a_log_has_every_rule_and_the_results_in_order() -> None:
    items = [finding("b", code="DRG2003"), finding("a"), finding("c", severity=Severity.INFO)]
    log = sarif.report(items)
    sound(log)
    (run,) = log["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == list(codes.CODES)
    assert [(r["ruleId"], r["level"]) for r in run["results"]] == [
        ("DRG1104", "error"),
        ("DRG2003", "error"),
        ("DRG1104", "note"),
    ]
    sound(sarif.report([]))


def test_a_result_says_what_and_where() -> None:
    item = finding(label="expected 1 to 65535", notes=("one",), help="two", severity=Severity.WARNING)
    result = only(item, spot())
    assert result["level"] == "warning"
    assert result["message"]["text"] == "the port is out of range (expected 1 to 65535)\none\nhelp: two"
    (location,) = result["locations"]
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "shop/routes.yaml"},
        "region": {"startLine": 12, "startColumn": 30, "endColumn": 35},
    }
    (logical,) = location["logicalLocations"]
    assert logical["fullyQualifiedName"] == "HTTPRoute shop/cart spec.rules[0].backendRefs[1].port"


@pytest.mark.parametrize(
    ("span", "region"),
    [
        (Span("a.yaml", 0), None),
        (Span("a.yaml", 1, 0), {"startLine": 1, "startColumn": 1}),
        (Span("a.yaml", 3, 7), {"startLine": 3, "startColumn": 7}),
        (Span("a.yaml", 3, 7, 7), {"startLine": 3, "startColumn": 7}),
        (Span("a.yaml", 3, 7, 9), {"startLine": 3, "startColumn": 7, "endColumn": 9}),
    ],
)
def test_regions_begin_at_one(span: Span, region: dict[str, int] | None) -> None:
    (location,) = only(finding(), span)["locations"]
    assert location["physicalLocation"].get("region") == region


@pytest.mark.parametrize(
    ("file", "uri"),
    [
        ("shop/routes.yaml", "shop/routes.yaml"),
        ("./a b.yaml", "a%20b.yaml"),
        ("a:b#c?.yaml", "a%3Ab%23c%3F.yaml"),
        ("größe.yaml", "gr%C3%B6%C3%9Fe.yaml"),
        ("/etc/a b.yaml", "file:///etc/a%20b.yaml"),
        ("<stdin>", "%3Cstdin%3E"),
        ("caf\ufffd.yaml", "caf%EF%BF%BD.yaml"),
    ],
)
def test_files_are_uris(file: str, uri: str) -> None:
    (location,) = only(finding(), Span(file, 1))["locations"]
    assert location["physicalLocation"]["artifactLocation"] == {"uri": uri}


def test_nowhere_is_no_location() -> None:
    assert "locations" not in only(finding(ref=None, path=()))
    (location,) = only(finding(path=()))["locations"]
    assert list(location) == ["logicalLocations"]


def test_a_fingerprint_stays_when_lines_move_and_differs_for_what_differs() -> None:
    def print_of(item: Diagnostic, span: Span | None = None) -> str:
        return str(only(item, span)["partialFingerprints"]["dragoman/v1"])

    assert print_of(finding(), spot(line=1)) == print_of(finding(), spot(line=99)) == print_of(finding())
    others = [
        finding("x"),
        finding(code="DRG1103"),
        finding(path=()),
        finding(ref=CART._replace(name="till")),
        finding(ref=None, span=Span("a.yaml", 1)),
        finding(ref=None, span=Span("b.yaml", 1)),
    ]
    assert len({print_of(item) for item in [finding(), *others]}) == 7


# GitHub


def command(item: Diagnostic, span: Span | None = None) -> str:
    report = github.report([item], everywhere(span))
    assert report.count("\n") == 1
    return report.removesuffix("\n")


def test_an_annotation() -> None:
    item = finding(label="expected 1 to 65535", notes=("one",), help="two")
    assert command(item, spot()) == (
        "::error file=shop/routes.yaml,line=12,col=30,endColumn=35,title=DRG1104 HTTPRoute shop/cart"
        "::the port is out of range: expected 1 to 65535%0Aone%0Ahelp: two"
    )


@pytest.mark.parametrize(
    ("severity", "word"),
    [(Severity.ERROR, "error"), (Severity.WARNING, "warning"), (Severity.INFO, "notice")],
)
def test_severities_are_commands(severity: Severity, word: str) -> None:
    assert command(finding(severity=severity)).startswith(f"::{word} title=DRG1104 ")


def test_what_has_a_meaning_to_github_is_escaped() -> None:
    evil = "100%, a:b\r\n::error::x %0A"
    item = finding(evil, ref=CART._replace(name=evil), label=evil, notes=(evil,), help=evil)
    line = command(item, Span(evil, 1))
    properties, _, message = line.removeprefix("::error ").partition("::")
    assert "\r" not in line
    parts = dict(part.split("=", 1) for part in properties.split(","))
    assert list(parts) == ["file", "line", "col", "title"]
    assert decoded(parts["file"]) == evil
    assert decoded(parts["title"]) == f"DRG1104 HTTPRoute shop/{evil}"
    assert decoded(message) == f"{evil}: {evil}\n{evil}\nhelp: {evil}"


def decoded(text: str) -> str:
    """As the runner reads it: percent last."""
    for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, character)
    return text


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (None, "title=DRG1002"),
        (Span("a.yaml", 0), "file=a.yaml,title=DRG1002"),
        (Span("a.yaml", 2), "file=a.yaml,line=2,col=1,title=DRG1002"),
        (Span("a.yaml", 2, 5, 5), "file=a.yaml,line=2,col=5,title=DRG1002"),
    ],
)
def test_only_what_is_known_is_said(span: Span | None, expected: str) -> None:
    item = finding("cannot be read", code="DRG1002", ref=None, path=(), span=span)
    assert command(item) == f"::error {expected}::cannot be read"


def test_no_findings_are_no_lines() -> None:
    assert github.report([]) == ""
