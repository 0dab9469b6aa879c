"""What is read from a text: documents, lists, JSON, encodings; and what is said of texts that are nothing."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

import pytest

from dragoman.sources.base import Update
from dragoman.sources.files import Files
from tests.unit.sources.build import (
    BROKEN,
    GATEWAY,
    documents,
    load,
    names,
    ports,
    route,
    said,
    service,
    write,
)


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Reads a text or bytes as a file."""

    def one(content: str | bytes, name: str = "in.yaml") -> Update:
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return load(tmp_path / name)

    return one


def test_documents_in_their_order(read: Any) -> None:
    update = read(documents(service("a"), route("b"), service("c")))
    assert names(update) == ["Service shop/a", "HTTPRoute shop/b", "Service shop/c"]


@pytest.mark.parametrize(
    "text",
    [
        "---\n{}---\n{}",
        "# about\n---\n# more\n---\n{}---\n\n---\n{}---\n",
        "{}...\n---\n{}...\n",
        "--- # first\n{}---\t\n{}",
        "%YAML 1.1\n---\n{}...\n%YAML 1.1\n---\n{}",
    ],
)
def test_marks_between_documents(read: Any, text: str) -> None:
    update = read(text.format(service("a"), service("b")))
    assert (names(update), said(update)) == (["Service shop/a", "Service shop/b"], [])


def test_a_document_may_begin_in_the_line_of_its_mark(read: Any) -> None:
    update = read('--- {apiVersion: v1, kind: Service, metadata: {name: a}}\n--- # b\n{"kind": 1}\n')
    assert (names(update), said(update)) == (["Service default/a"], ["DRG1003 in.yaml:3:10"])


def test_marks_within_block_scalars_are_text(read: Any) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: |\n    one\n    ---\n    two\n"
    assert read(text).upserts[0].body["data"] == {"x": "one\n---\ntwo\n"}


@pytest.mark.parametrize(
    "content",
    ["", "\n\n", "# nothing\n", "---\n", "---\n---\n...\n", "# a\n---\n  # b\n", " \t\n", "null\n", "~",
     codecs.BOM_UTF8, "%YAML 1.1\n", "\r\n# a\r\n"],
)  # fmt: skip
def test_nothing_is_nothing(read: Any, content: str | bytes) -> None:
    assert read(content) == Update()


@pytest.mark.parametrize(
    ("bom", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings_and_line_ends(read: Any, bom: bytes, encoding: str, end: str) -> None:
    text = documents("# größer als 日本\n" + service("a"), service("b", 81)).replace("\n", end)
    update = read(bom + text.encode(encoding))
    assert ports(update.upserts) == {"a": 80, "b": 81}
    locator = update.upserts[1].locator
    assert locator is not None
    assert str(locator.locate(("spec", "ports", 0, "port"))).endswith("in.yaml:18:11")


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        (b"a: 1\nb: caf\xe9 x\n", "2:7", "the byte 0xE9 is not valid UTF-8"),
        (b"\xff\xfea\0b", "1:2", "the byte 0x62 is not valid UTF-16-LE"),
        (b"\x80", "1:1", "the byte 0x80 is not valid UTF-8"),
        ("é: \x01\n".encode(), "1:4", "the character U+0001 is not allowed in YAML"),
        (b"a\0b\0", "1:2", "the character U+0000 is not allowed in YAML"),
    ],
)
def test_what_is_no_text(read: Any, content: bytes, place: str, message: str) -> None:
    update = read(content)
    assert said(update) == [f"DRG1001 in.yaml:{place}"]
    assert update.diagnostics[0].message == message


def test_lists_are_taken_apart(read: Any) -> None:
    items = [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"}}
        for name in ("a", "b")
    ]
    inner = {"kind": "List", "apiVersion": "v1", "items": items[1:]}
    text = json.dumps({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": [items[0], inner]})
    assert names(read(text)) == names(read(text, "in.json")) == ["Service shop/a", "Service shop/b"]


def test_items_of_a_kinds_own_list_need_not_name_it(read: Any) -> None:
    text = f"""\
apiVersion: {GATEWAY}/v1
kind: HTTPRouteList
items:
- metadata: {{name: a, namespace: shop}}
- kind: HTTPRoute
  apiVersion: {GATEWAY}/v1beta1
  metadata: {{name: b, namespace: shop}}
"""
    update = read(text)
    assert names(update) == ["HTTPRoute shop/a", "HTTPRoute shop/b"]
    assert [each.body["apiVersion"] for each in update.upserts] == [f"{GATEWAY}/v1", f"{GATEWAY}/v1beta1"]
    assert update.upserts[0].body["kind"] == "HTTPRoute"


@pytest.mark.parametrize("items", ["[]", "null"])
def test_empty_lists(read: Any, items: str) -> None:
    assert read(f"apiVersion: v1\nkind: List\nitems: {items}\n") == Update()


def test_one_bad_item_does_not_lose_the_others(read: Any) -> None:
    text = """\
apiVersion: v1
kind: ServiceList
items:
- metadata: {name: a}
- metadata: {nam: b}
- 12
- metadata: {name: Great}
- metadata: {name: d}
"""
    update = read(text)
    assert names(update) == ["Service default/a", "Service default/d"]
    assert said(update) == ["DRG1004 in.yaml:5:13", "DRG1003 in.yaml:6:3", "DRG1005 in.yaml:7:20"]


@pytest.mark.parametrize(
    ("text", "code", "place", "message"),
    [
        ("- a\n", "DRG1003", "1:1", "a list stands here where an object is expected"),
        ("hello\n", "DRG1003", "1:1", "a string stands here where an object is expected"),
        ("a: 1\n", "DRG1003", "1:1", "the document has no `apiVersion` and no `kind`"),
        ("# x\n\nkind: Service\n", "DRG1003", "3:1", "Service without `apiVersion`"),
        ("apiVersion: 1\nkind: X\n", "DRG1003", "1:13", "`apiVersion` is the number 1 and should be"),
        ("kind: List\nitems: {a: b}\n", "DRG1003", "2:8", "`items` is a mapping and should be a list"),
        ("kind: List\nitems:\n- kind: XList\n  items: x\n", "DRG1003", "4:10", "`items` is a string and"),
        ("apiVersion: v1\nkind: X\nmetadata: {}\n", "DRG1004", "3:11", "X without `metadata.name`"),
        ("apiVersion: v1\nkind: X\nmetadata:\n  generateName: a-\n", "DRG1004", "3:1", "X without"),
        ("apiVersion: v1\nkind: X\nmetadata: {name: 8}\n", "DRG1005", "3:18", "is the number 8"),
        ("apiVersion: v1\nkind: X\nmetadata: {name: a/b}\n", "DRG1005", "3:18", "is not a DNS name"),
        ("apiVersion: v1\nkind: X\nmetadata: {name: a, namespace: 8}\n", "DRG1005", "3:32", "namespace of X"),
        ("a: 1\nb: 2\na: 3\n", "DRG1007", "3:1", "the key `a` stands here for the second time"),
        ('{"kind": 1,\n "kind": 2}', "DRG1007", "2:2", "the key `kind` stands here for the second time"),
        ("a:\n\tb: 1\n", "DRG1001", "2:1", "the line is indented with a tab"),
        ("a: [b\n", "DRG1001", "1:6", "did not find expected ',' or ']'"),
        ('{"a": 1}\n{"a": 2}\n', "DRG1001", "2:1", "did not find expected <document start>"),
        ("a: !vault x\n", "DRG1001", "1:4", "tags (words that begin with `!`) are not supported here"),
        ("a: .nan\n", "DRG1001", "1:4", "infinities and NaN"),
        ("a: &x\n  <<: *x\n", "DRG1001", "1:4", "nested deeper than 100 levels"),
        ("a: &x [*x]\n", "DRG1001", "1:4", "nested deeper than 100 levels"),
        ("? [a]\n: b\n", "DRG1001", "1:3", "a key is a plain word or a string, not a collection"),
    ],
)  # fmt: skip
def test_what_is_no_object(read: Any, text: str, code: str, place: str, message: str) -> None:
    update = read(text)
    assert said(update) == [f"{code} in.yaml:{place}"]
    assert message in update.diagnostics[0].message


def bomb(merge: bool) -> str:
    """Ten to the ninth, in ten lines."""
    lines = ["a0: &a0 {}"]
    for level in range(1, 10):
        again = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} " + (f"{{<<: [{again}]}}" if merge else f"[{again}]"))
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        bomb(merge=False),
        bomb(merge=True),
        "- " * 50_000 + "a",
        "[" * 50_000,
        "{a: " * 200 + "1" + "}" * 200,
        '{"a":' * 900 + "1" + "}" * 900,
        '{"a":' * 50_000 + "1" + "}" * 50_000,
        "\n".join(" " * depth + "a:" for depth in range(300)),
    ],
    ids=["aliases", "merges", "dashes", "open", "flow", "deep json", "deepest json", "block"],
)
def test_hostile_texts_are_refused_and_not_unfolded(read: Any, text: str) -> None:
    assert [each.code for each in read(text).diagnostics] == ["DRG1001"]


def test_an_honest_file_may_be_huge(read: Any) -> None:
    update = read(documents(*(service(f"s{number}") for number in range(3000))))
    assert len(update.upserts) == 3000
    assert not update.diagnostics


def test_large_and_small_are_read_alike(tmp_path: Path) -> None:
    write(tmp_path, small=service("a") + "---\n" + service("b").replace("80", "0x50"))
    (tmp_path / "large.yaml").write_text((tmp_path / "small.yaml").read_text() + "#" * 100_000 + "\n")
    small, large = load(tmp_path / "small.yaml"), load(tmp_path / "large.yaml")
    assert ports(small.upserts) == ports(large.upserts) == {"a": 80, "b": 80}


def test_an_object_in_two_places_counts_where_it_stands_first(tmp_path: Path) -> None:
    write(tmp_path, a=service("cart", 1), b=documents(service("cart", 2), service("cart", 3)))
    source = Files([tmp_path])
    update = source.load()
    assert ports(update.upserts) == {"cart": 1}
    assert said(update) == ["DRG1006 b.yaml:4:9", "DRG1006 b.yaml:13:9"]
    assert update.diagnostics[0].notes == (
        f"it stands first in {tmp_path / 'a.yaml'}:4, and that one counts",
    )


def test_cluster_scoped_kinds_have_no_namespace(read: Any) -> None:
    text = f"apiVersion: {GATEWAY}/v1\nkind: GatewayClass\nmetadata: {{name: dragoman, namespace: x}}\n"
    assert read(text).upserts[0].ref.namespace == ""


def test_parts_come_to_what_comes_at_once(tmp_path: Path) -> None:
    for number in range(450):
        again = service(f"s{number // 2}", port=number + 1)  # each stands twice, and the first one counts
        (tmp_path / f"{'ab'[number % 2]}{number}.yaml").write_text(again)
    (tmp_path / "broken.yaml").write_text(BROKEN)
    parts = list(Files([tmp_path]).pieces())
    whole = Files([tmp_path]).load()
    assert len(parts) >= 4
    assert [part.diagnostics for part in parts[:-1]] == [()] * (len(parts) - 1)
    assert parts[-1].diagnostics == whole.diagnostics
    found = [(one.ref, one.body) for part in parts for one in part.upserts]
    assert len(found) == 225
    assert sorted(found, key=str) == sorted(((one.ref, one.body) for one in whole.upserts), key=str)


def test_parts_of_nothing(tmp_path: Path) -> None:
    assert list(Files([tmp_path]).pieces()) == []
    with pytest.raises(FileNotFoundError):
        list(Files([tmp_path / "missing"]).pieces())
