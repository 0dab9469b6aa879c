"""What a Secret holds is in no diagnostic and in no line that goes along with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragoman.diagnostics import Span, data, github, sarif, text
from dragoman.refs import FieldPath
from dragoman.sources.files import Files
from dragoman.sources.locate import TextLocator
from tests.unit.sources.build import write

WORD = "hunter2"
BLOCK = """\
apiVersion: v1
kind: Secret
metadata: {name: keys, namespace: shop}
stringData:
  config: |
    user: admin
      hunter2: yes

  quoted: "hunter2
    hunter2"
  plain: hunter2 hunter2   # not hunted
  list: [hunter2]
  after: x
type: Opaque
"""
FLOW = "{apiVersion: v1, kind: Secret, stringData: {p: hunter2}, metadata: {name: keys, namespace: shop}}\n"
JSON = '{"kind":"Secret","apiVersion":"v1","metadata":{"name":"keys"},"data":{"p":"hunter2"}}\n'
LISTED = "kind: List\nitems:\n- kind: Secret\n  apiVersion: v1\n  metadata: {name: a}\n  data: {p: hunter2}\n"
SECRETS = "kind: SecretList\napiVersion: v1\nitems:\n- metadata: {name: a}\n  data: {p: hunter2}\n"
TYPO = FLOW.replace("stringData", "stringdata")
GLUED = FLOW.replace("p: ", "p:")
LOWER = FLOW.replace("Secret", "secret")
APPLIED = """\
apiVersion: v1
kind: &kind Secret
metadata:
  name: a
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {"stringData": {"p": "hunter2"}}
"""


def every_line(source: str, prefix: FieldPath = ()) -> list[Span]:
    """A span for each field, and so the lines of all of them."""
    locator = TextLocator("a.yaml", 1, source, prefix)
    paths: list[FieldPath] = [("metadata", "name"), ("type",)]
    paths += [("stringData", key) for key in ("config", "quoted", "plain", "list", "after", "p")]
    paths += [("data", "p"), ("metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration")]
    return [span for path in paths if (span := locator.locate(path)) is not None]


@pytest.mark.parametrize(
    ("source", "prefix"),
    [(BLOCK, ()), (FLOW, ()), (JSON, ()), (LISTED, ("items", 0)), (SECRETS, ("items", 0)), (APPLIED, ())],
    ids=["block", "flow", "json", "list", "its own list", "applied"],
)
def test_lines_are_masked_and_columns_stay(source: str, prefix: FieldPath) -> None:
    lines = source.split("\n")
    for span in every_line(source, prefix):
        assert WORD not in span.text
        line = lines[span.line - 1]
        assert len(span.text) == len(line)
        assert all(shown in (was, "*") for shown, was in zip(span.text, line, strict=True))


def test_what_is_no_secret_is_shown() -> None:
    texts = {span.text for span in every_line(BLOCK)}
    assert "type: Opaque" in texts
    assert "  quoted: ********" in texts
    assert "  plain: ***************   # not hunted" in texts
    assert "  after: *" in texts
    config = BLOCK.replace("Secret", "ConfigMap").replace("stringData", "data")
    span = TextLocator("a.yaml", 1, config).locate(("data", "plain"))
    assert span is not None
    assert span.text == "  plain: hunter2 hunter2   # not hunted"


@pytest.mark.parametrize(
    "damage",
    [
        ("  after: x", "  after: x: y"),
        ("  after: x", "  after: [x"),
        ("  after: x", "  after: !hunter2"),
        ("  after: x", "  after: *hunter2"),
        ("  after: x", "  after: &hunter2 &hunter2 x"),
        ("  after: x", "  plain: hunter2"),
        ("  after: x", "  hunter2\n  after: x"),
        ("  after: x", "\tp: hunter2"),
        ("  after: x", "  after: 'hunter2"),
        ("  after: x", '  after: "\\hunter2"'),
        ("  after: x", "  after: hunter2\x01"),
        ("  after: x", "  the hunter2 is: x: y"),
        ('  quoted: "hunter2', "  quoted: hunter2: hunter2"),
        ("name: keys, ", ""),
        ("name: keys", "name: KEYS"),
        ("kind: Secret", "kind: Secret\nkind: Secret"),
        ("kind: Secret", "kind: SecretList\nitems: [hunter2, {data: hunter2}]"),
        ("kind: Secret", "kind: SecretList\nitems: hunter2"),
        ("kind: Secret", "kind: !x Secret"),
        ("kind: Secret", "kind:\n  'Secret'"),
        ("stringData:", "stringdata:\n  plain: hunter2"),
    ],
)
def test_broken_secrets_are_not_shown(tmp_path: Path, damage: tuple[str, str]) -> None:
    assert damage[0] in BLOCK
    write(tmp_path, a=BLOCK.replace(*damage) + ("  x: [" if damage[1].endswith("'Secret'") else ""))
    assert_silent(Files([tmp_path]))


@pytest.mark.parametrize("source", [BLOCK, FLOW, JSON, LISTED, SECRETS, TYPO, GLUED, LOWER, APPLIED])
def test_secrets_that_stand_twice_are_not_shown(tmp_path: Path, source: str) -> None:
    write(tmp_path, a=source, b=source)
    assert_silent(Files([tmp_path]))


@pytest.mark.parametrize("before", ["  config:", "      hunter2", "  quoted", "  plain", "  list", "type"])
@pytest.mark.parametrize("damage", ["", "  x: [hunter2\n"])
def test_secrets_cut_in_two_are_not_shown(tmp_path: Path, before: str, damage: str) -> None:
    cut = BLOCK.index("\n" + before) + 1
    write(tmp_path, a=f"{BLOCK[:cut]}---\n{BLOCK[cut:]}{damage}")
    assert_silent(Files([tmp_path]))


def assert_silent(source: Files) -> None:
    """There is something to report, and in no form does it hold the word."""
    diagnostics = source.load().diagnostics
    assert diagnostics
    reports = (
        text.report(diagnostics, source.locate),
        str(data.report(diagnostics, source.locate)),
        str(sarif.report(diagnostics, source.locate)),
        github.report(diagnostics, source.locate),
        repr(diagnostics),
    )
    for report in reports:
        assert WORD not in report.replace("not hunted", ""), report
