"""From a field back to its text: file, line, columns, and the line itself for the caret.

A locator keeps what is cheap (the document's text, shared with the source, and the line in which it begins)
and composes the YAML nodes only when somebody asks, which is when a diagnostic is shown. What a Secret
holds never leaves here: its values are masked in the lines that go along with spans.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import yaml

from dragoman.diagnostics import Span
from dragoman.refs import FieldPath
from dragoman.sources import packing, yamlnodes

OPEN_FIELDS: Final = frozenset({"apiVersion", "kind", "metadata", "type", "immutable"})
"""Fields of a Secret that may be shown. All others may be `data` misspelt."""
APPLIED: Final[FieldPath] = ("metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration")
"""What may not be shown in spite of that: the Secret once more."""

_KEYS: Final[FieldPath] = ("spec", "jwt", "providers", "jwks", "inline")

# JSON writes characters beyond the basic plane as two escapes, which libyaml refuses; any two others do for
# locating.
_SURROGATES = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_COMMENT = re.compile(r"(?<![^ \t])#")
_SECRET = re.compile(r"""kind["']?\s*:\s*(?:[&!]\S+\s+)*["']?\w*secret""", re.IGNORECASE)
_KEY_SET = re.compile(r"""\bkty\\?["']?\s*:""")
"""A key of a key set (JWKS), which may have private parts."""
_KIND = re.compile(r"""(?:^|[{,])[ \t]*["']?kind["']?[ \t]*:""", re.MULTILINE)
# Line breaks to YAML 1.1 and to nobody who counts lines; they are only where a value or a comment may go on.
_ODD_BREAKS = str.maketrans(dict.fromkeys("\r\x85\u2028\u2029", " "))
# What may stand before the colon of a key: anything else is more likely a part of a value.
_KEY = re.compile(r"""[ \t{\[,?-]*(?:"[^"]*"|'[^']*'|[\w./-]+)[ \t]*""")


class TextLocator(packing.Kept):
    """Locates the fields of one object. `prefix` leads to it within its document (a list's item).
    Implements `Locator`.

    `start` is the line of the file in which the document's text begins; the source moves it when lines come
    or go above.
    """

    __slots__ = ("_file", "prefix", "start")

    def __init__(self, file: str, start: int, text: str, prefix: FieldPath = ()) -> None:
        super().__init__(text)
        self._file = file
        self.start = start
        self.prefix = prefix

    @property
    def file(self) -> str:
        return self._file

    @property
    def line(self) -> int:
        """The line in which the object begins."""
        span = self.locate(()) if self.prefix else None
        return span.line if span else first_line(self.text, self.start)[0]

    def locate(self, path: FieldPath) -> Span | None:
        return self._span(path, key=False)

    def locate_key(self, path: FieldPath) -> Span | None:
        return self._span(path, key=True)

    def _span(self, path: FieldPath, *, key: bool) -> Span | None:
        root, secrets = _compose(self.text)
        if root is None:
            return None
        trail = _walk(root, (*self.prefix, *path))
        own, node = trail[-1]
        if own is not None and (
            _is_block(node) or not _has_text(node) or (key and len(trail) > len(self.prefix + path))
        ):
            node = own
        line = node.start_mark.line
        text = _line(self.text, line)
        column = node.start_mark.column
        end = max(_end(node, text), column + 1)
        return Span(self._file, self.start + line, column + 1, end + 1, _mask(text, line, secrets))


class _Composed(NamedTuple):
    """A document's nodes, and by line (from 0) those among them that hold secrets."""

    root: yaml.Node | None
    secrets: Mapping[int, list[yaml.Node]]


@functools.lru_cache(maxsize=4)
def _compose(text: str) -> _Composed:
    text = text.translate(_ODD_BREAKS)
    try:
        root = yamlnodes.compose(_SURROGATES.sub(r"\\u0041\\u0041", text) if "\\u" in text else text)
    except yamlnodes.Invalid:
        root = None
    secrets: dict[int, list[yaml.Node]] = {}
    for node in _secrets(root, "Secret") if root is not None else ():
        for line in range(node.start_mark.line, node.end_mark.line + 1):
            secrets.setdefault(line, []).append(node)
    return _Composed(root, secrets)


@functools.lru_cache(maxsize=4)
def _lines(text: str) -> list[str]:
    return text.split("\n")


def _line(text: str, number: int) -> str:
    """The line of this number, from 0; "" beyond the end."""
    lines = _lines(text)
    return lines[number] if 0 <= number < len(lines) else ""


def _end(node: yaml.Node, line: str) -> int:
    """The column behind a node's text in its first line."""
    if node.end_mark.line == node.start_mark.line:
        return int(node.end_mark.column)
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        return int(node.start_mark.column) + 1
    comment = _COMMENT.search(line, max(line.rfind('"'), line.rfind("'")) + 1)
    return len((line[: comment.start()] if comment else line).rstrip())


def _walk(root: yaml.Node, path: FieldPath) -> list[tuple[yaml.Node | None, yaml.Node]]:
    """The (key, value) nodes from the root along the path, as far as it goes. Sequence items have no key."""
    trail: list[tuple[yaml.Node | None, yaml.Node]] = [(None, root)]
    node = root
    for step in path:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and 0 <= step < len(node.value):
            trail.append((None, node.value[step]))
        elif isinstance(node, yaml.MappingNode) and (entry := _entry(node, str(step))) is not None:
            trail.append(entry)
        else:
            break
        node = trail[-1][1]
    return trail


def _entry(node: yaml.MappingNode, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    merged: list[yaml.Node] = []
    for key_node, value_node in node.value:
        if yamlnodes.is_merge(key_node):
            merged += value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
        elif yamlnodes.key_text(key_node) == key:
            return key_node, value_node
    for source in merged:
        if (
            isinstance(source, yaml.MappingNode)
            and source is not node
            and (found := _entry(source, key)) is not None
        ):
            return found
    return None


def _is_block(node: yaml.Node) -> bool:
    return isinstance(node, yaml.CollectionNode) and not node.flow_style


def _has_text(node: yaml.Node) -> bool:
    return (node.start_mark.line, node.start_mark.column) != (node.end_mark.line, node.end_mark.column)


# What Secrets hold


def _secrets(node: yaml.Node, hint: str = "") -> Iterator[yaml.Node]:
    """The nodes with a Secret's values, also of the Secrets in a list. `hint`: the kind of what names
    none; a document without one may be the rest of a Secret, cut off by a stray `---`.
    """
    if not isinstance(node, yaml.MappingNode):
        yield from _leaves(node) if sounds_secret(hint) else ()
        return
    own, items = _entry(node, "kind"), _entry(node, "items")
    kind = str(own[1].value) if own is not None else hint
    listed = items[1] if items is not None and kind.endswith("List") else None
    if sounds_secret(kind):
        for key_node, value_node in node.value:
            if value_node is not listed and yamlnodes.key_text(key_node) not in OPEN_FIELDS:
                yield from _leaves(value_node)
        trail = _walk(node, APPLIED)
        if len(trail) > len(APPLIED):
            yield from _leaves(trail[-1][1])
    if kind == "AuthPolicy":
        yield from _key_sets(node, _KEYS)
    for item in listed.value if isinstance(listed, yaml.SequenceNode) else [listed] if listed else ():
        yield from _secrets(item, kind.removesuffix("List"))


def _key_sets(node: yaml.Node, path: FieldPath) -> Iterator[yaml.Node]:
    """Key sets that an AuthPolicy has inline: they may have private parts."""
    if not path:
        yield node
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _key_sets(item, path)
    elif isinstance(node, yaml.MappingNode) and (entry := _entry(node, str(path[0]))) is not None:
        yield from _key_sets(entry[1], path[1:])


def sounds_secret(kind: str) -> bool:
    """`secret` and `Secrets` are Secrets misspelt."""
    return "secret" in kind.lower()


def _leaves(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _leaves(value if _has_text(value) else key)  # `{password:secret}` is all key
    else:
        yield node  # a list goes whole


def _mask(line: str, number: int, secrets: Mapping[int, list[yaml.Node]]) -> str:
    """The line with asterisks over secrets, as many as characters, so that columns stay true."""
    for node in secrets.get(number, ()):
        start, end = node.start_mark, node.end_mark
        first = start.column if start.line == number else len(line) - len(line.lstrip())
        last = end.column if end.line == number else len(line)
        if first < last:  # a block's end mark is where the next line begins
            line = line[:first] + "*" * (last - first) + line[last:]
    return line


def broken_line(text: str, line: int) -> str:
    """The `line`th (1-based) of a text that cannot be composed. If it may hold a Secret, values are masked
    by guess.
    """
    shown = _line(text, line - 1)
    if not _may_be_secret(text):
        return shown
    head, colon, tail = shown.partition(":")
    if not colon or _KEY.fullmatch(head) is None:
        head, colon, tail = "", "", shown
    return head + colon + re.sub(r"\S", "*", tail)


@functools.lru_cache(maxsize=4)
def _may_be_secret(text: str) -> bool:
    return any(one.search(text) for one in (_SECRET, _KEY_SET)) or _KIND.search(text) is None


def first_line(text: str, start: int) -> tuple[int, str]:
    """Number and text of the first line that holds more than a comment. `start` is the number of the text's
    first.
    """
    lines = _lines(text)
    for number, line in enumerate(lines):
        if line.strip() and not line.lstrip().startswith("#"):
            return start + number, line
    return start, lines[0]


def name_line(locator: TextLocator, name: str) -> tuple[int, int, str]:
    """Line, column and text where a name probably stands, without composing (but for Secrets); else the first
    line.
    """
    if not locator.prefix and not _may_be_secret(locator.text):
        key = r"""^[ ]*(?:["']?metadata["']?:[ ]+{.*?)?["']?\bname["']?:[ \t]+["']?"""
        pattern = rf"""{key}({re.escape(name)})(?=["' \t\n,}}]|\Z)"""
        if (matched := re.search(pattern, locator.text, re.MULTILINE)) is not None:
            begin = locator.text.rfind("\n", 0, matched.start(1)) + 1
            line = locator.start + locator.text.count("\n", 0, begin)
            return line, matched.start(1) - begin + 1, locator.text[begin:].split("\n", 1)[0]
    elif (span := locator.locate(("metadata", "name"))) is not None:
        return span.line, span.column, span.text
    line, _ = first_line(locator.text, locator.start)
    return line, 1, broken_line(locator.text, line - locator.start + 1)
