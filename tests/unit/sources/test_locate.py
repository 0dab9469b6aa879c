"""From a field to its file, line and columns: block, flow, lists, many documents, and after lines moved."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragoman.refs import FieldPath, Ref
from dragoman.sources.files import Files
from dragoman.sources.locate import TextLocator
from tests.unit.sources.build import GATEWAY, documents, ref, route, service, write
from tests.unit.sources.watching import following, replace

TEXT = """\
# A route.
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: "shop"
  annotations: {"example.dev/a": '10', plain: yes}   # text
spec:
  parentRefs:
  - {name: edge, sectionName: https}
  -
    name: other
  hostnames: [shop.example, 'a.example',
    b.example]   # and so on
  rules:
  - matches: &all
    - path: {type: PathPrefix, value: /größe/日本}
      headers: []
    backendRefs:
    - name: shop
      port: 80800
      weight:
  - matches: *all
    <<: {timeouts: {request: 10s}}
    text: |
      one
      two
    long: >-
      folded
    quoted: "one
      two"
    ? explicit
    : value
    signs: ['#'
    ]
    comment: [a, #b # c
    ]
"""
NOTES: FieldPath = ("metadata", "annotations")
RULE: FieldPath = ("spec", "rules", 0)
NEXT: FieldPath = ("spec", "rules", 1)


def show(locator: TextLocator, path: FieldPath, *, key: bool = False) -> str:
    """`line:column-end marked`, end included."""
    span = locator.locate_key(path) if key else locator.locate(path)
    assert span is not None
    marked = span.text[span.column - 1 : span.end_column - 1]
    return f"{span.line}:{span.column}-{span.end_column - 1} {marked}"


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        (("kind",), "3:7-15 HTTPRoute", "3:1-4 kind"),
        (("metadata", "name"), '5:9-14 "shop"', "5:3-6 name"),
        ((*NOTES, "example.dev/a"), "6:34-37 '10'", '6:17-31 "example.dev/a"'),
        (NOTES, "6:16-50 {\"example.dev/a\": '10', plain: yes}", "6:3-13 annotations"),
        (("spec",), "7:1-4 spec", "7:1-4 spec"),
        (("spec", "parentRefs", 0), "9:5-36 {name: edge, sectionName: https}", None),
        (("spec", "parentRefs", 0, "sectionName"), "9:31-35 https", "9:18-28 sectionName"),
        (("spec", "parentRefs", 1, "name"), "11:11-15 other", "11:5-8 name"),
        (("spec", "hostnames"), "12:14-40 [shop.example, 'a.example',", "12:3-11 hostnames"),
        (("spec", "hostnames", 1), "12:29-39 'a.example'", None),
        (("spec", "hostnames", 2), "13:5-13 b.example", None),
        ((*RULE, "matches", 0, "path", "value"), "16:39-47 /größe/日本", "16:32-36 value"),
        ((*RULE, "matches", 0, "headers"), "17:16-17 []", "17:7-13 headers"),
        ((*RULE, "backendRefs", 0, "port"), "20:13-17 80800", "20:7-10 port"),
        ((*RULE, "backendRefs", 0, "weight"), "21:7-12 weight", "21:7-12 weight"),
        ((*NEXT, "matches", 0, "path", "type"), "16:20-29 PathPrefix", "16:14-17 type"),
        ((*NEXT, "timeouts", "request"), "23:30-32 10s", "23:21-27 request"),
        ((*NEXT, "text"), "24:11-11 |", "24:5-8 text"),
        ((*NEXT, "long"), "27:11-11 >", "27:5-8 long"),
        ((*NEXT, "quoted"), '29:13-16 "one', "29:5-10 quoted"),
        ((*NEXT, "explicit"), "32:7-11 value", "31:7-14 explicit"),
        ((*NEXT, "signs"), "33:12-15 ['#'", "33:5-9 signs"),
        ((*NEXT, "comment"), "35:14-16 [a,", "35:5-11 comment"),
    ],
)  # fmt: skip
def test_a_field_and_its_key(path: FieldPath, value: str, key: str | None) -> None:
    locator = TextLocator("a.yaml", 1, TEXT)
    assert show(locator, path) == value
    if key is not None:
        assert show(locator, path, key=True) == key


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ((*RULE, "backendRefs", 0, "filters", 3, "type"), "19:7-16 name: shop"),
        ((*RULE, "backendRefs", 7), "18:5-15 backendRefs"),
        (("spec", "parentRefs", 0, "port"), "9:5-36 {name: edge, sectionName: https}"),
        (("spec", "nothing", "here"), "7:1-4 spec"),
        (("metadata", "labels"), "4:1-8 metadata"),
        (("metadata", "name", "x"), '5:9-14 "shop"'),
    ],
)
def test_where_a_field_is_not_there_the_nearest_around_it(path: FieldPath, expected: str) -> None:
    assert show(TextLocator("a.yaml", 1, TEXT), path) == expected


def test_the_whole_object_is_its_first_line() -> None:
    locator = TextLocator("a.yaml", 11, TEXT)
    assert (locator.file, locator.line) == ("a.yaml", 12)
    assert str(locator.locate(())) == "a.yaml:12:1"


def test_what_cannot_be_composed_is_nowhere() -> None:
    assert TextLocator("a.yaml", 1, "a: [").locate(("a",)) is None


def test_breaks_that_only_yaml_knows_are_no_lines() -> None:
    text = "a: 'one\u2028two'\n# \x85 \u2029\nb: 1\nkind: X\n"
    assert show(TextLocator("a.yaml", 1, text), ("b",)) == "3:4-4 1"


def test_json_of_any_form() -> None:
    text = '{"spec": {"emoji": "\\ud83d\\ude00", "path": "a\\/b",\n\t"port": 80}, "kind": "X"}'
    locator = TextLocator("a.json", 1, text)
    assert show(locator, ("spec", "emoji")) == '1:20-33 "\\ud83d\\ude00"'
    assert show(locator, ("spec", "port")) == "2:10-11 80"


def where(source: Files, name: Ref, *path: str | int) -> str:
    span = source.locate(name, path)
    assert span is not None
    assert Path(span.file).read_text().split("\n")[span.line - 1] == span.text
    return f"{Path(span.file).name}:{span.line}:{span.column}"


def test_documents_and_lists_in_files(tmp_path: Path) -> None:
    listed = f"""\
kind: List
items:
- {{apiVersion: {GATEWAY}/v1, kind: HTTPRoute, metadata: {{name: flow, namespace: shop}}}}
- kind: ServiceList
  apiVersion: v1
  items:
  - metadata: {{name: inner, namespace: shop}}
    spec:
      type: ClusterIP
"""
    write(tmp_path, a=documents(service("one"), "# x\n" + route("two"), listed))
    source = Files([tmp_path])
    source.load()
    assert where(source, ref("one"), "spec", "ports", 0, "port") == "a.yaml:8:11"
    assert where(source, ref("two", "HTTPRoute"), "spec", "hostnames", 0) == "a.yaml:16:15"
    assert where(source, ref("flow", "HTTPRoute"), "metadata", "name") == "a.yaml:22:80"
    assert where(source, ref("inner"), "spec", "type") == "a.yaml:28:13"
    assert source.locate(ref("nobody"), ("spec",)) is None


async def test_places_move_with_their_lines_and_nothing_else_does(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(documents(service("one"), service("two"), service("three")))
    async with following(path) as seen:
        locators = {name.name: document.locator for name, document in seen.objects.items()}
        replace(path, "# a\n# b\n" + documents(service("one", 9), service("three"), service("two")))
        await seen.until(lambda: seen.port("one") == 9)
        assert [each.ref.name for update in seen.history for each in update.upserts] == ["one"]
        places = {name: where(seen.source, ref(name), "metadata", "name") for name in locators}
        assert places == {"one": "a.yaml:6:9", "three": "a.yaml:15:9", "two": "a.yaml:24:9"}
        # Documents that were handed out before know it too.
        two = locators["two"]
        assert two is not None
        assert two.line == 21
