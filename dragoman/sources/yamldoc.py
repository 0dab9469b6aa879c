"""Texts into documents, documents into plain data: what YAML means to Dragoman, decided once.

It means what it means to kubectl (sigs.k8s.io/yaml): data are JSON's types. Quoted scalars are strings,
always. Plain scalars are YAML 1.1 as go-yaml v2 has it: `y yes on true` and `n no off false` (three
spellings each) are booleans; `~ null` and nothing are null; `010` is 8, `0x1F` 31, `0b1 0o17 1_000 1e3 .5`
numbers; integers beyond 64 bits are floating point; timestamps and `1:30` are strings. Keys are strings:
`1:` is `"1":`. Anchors, aliases and `<<` are resolved; duplicate keys, infinities, and tags beyond YAML's
own scalars are errors. A document that begins with a brace and is valid JSON is JSON. Line ends may be
CRLF, and a byte order mark UTF-8 or UTF-16.

`files` calls `decode`, `split` and `parse`.
"""

from __future__ import annotations

import codecs
import re
from typing import Any, Final, NamedTuple

import orjson

from dragoman.sources import quickyaml, yamlnodes
from dragoman.sources.yamlnodes import Invalid, Problem

__all__ = ["Chunk", "Invalid", "Problem", "decode", "parse", "split"]

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# `---` and `...` at the beginning of a line and followed by white space stand between documents wherever
# they stand: the content of a block scalar is indented, and quoted scalars may not contain them (YAML
# 1.2.2, 9.1.2). The match takes in the marker's line, but for a `---` that something other than a comment
# follows.
_MARKER = re.compile(
    r"\n(?:(?:---(?:[ \t]++(?:#[^\n]*+)?)?+|\.\.\.(?:[ \t][^\n]*+)?+)(?=\n|\Z)|(?=---[ \t]))"
)
# The first character of a line that is neither blank, a comment nor a directive.
_BLANK: Final = ("", " ", "\t", "\n", "#", "%")
_CONTENT = re.compile(r"^[ \t]*+[^\s#%]", re.MULTILINE)


class Chunk(NamedTuple):
    """The text of one document, and the 1-based line in which it begins."""

    line: int
    text: str


def decode(data: bytes) -> str:
    """The text of a file, lines ended by LF. Raises `Invalid` where it is not Unicode."""
    encoding = "utf-8"
    for bom, name in _BOMS:
        if data.startswith(bom):
            data, encoding = data[len(bom) :], name
            break
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as failure:
        before = data[: failure.start].decode(encoding, "replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        message = f"the byte 0x{data[failure.start]:02X} is not valid {encoding.upper()}"
        raise Invalid(Problem(message, line, column, column + 1, None, "save the file as UTF-8")) from None
    return text.replace("\r\n", "\n") if "\r" in text else text


def split(text: str) -> list[Chunk]:
    """The documents of a text, without those that hold nothing but comments and directives.

    A chunk begins behind its `---` line; the marker stays where something but a comment follows it in its
    line.
    """
    if not _is_plain(text):
        return split_any(text)
    chunks: list[Chunk] = []
    line, start = (2, 4) if text.startswith("---\n") else (1, 0)
    while (end := text.find("\n---\n", start)) >= 0:
        _add(chunks, line, text[start : end + 1])
        line += text.count("\n", start, end) + 2
        start = end + 5
    _add(chunks, line, text[start:])
    return chunks


def _is_plain(text: str) -> bool:
    """Whether all markers are lines `---`, and no two follow one another: the documents of most files."""
    return (
        "\n..." not in text
        and text.count("\n---") == text.count("\n---\n")
        and not text.startswith(("---\n---", "..."))
        and (text.startswith("---\n") or not text.startswith("---"))
    )


def split_any(text: str) -> list[Chunk]:
    """The same, whatever the markers are like."""
    chunks: list[Chunk] = []
    text = "\n" + text  # so that every marker has a line end before it
    line, start = 1, 1
    for marker in _MARKER.finditer(text):
        _add(chunks, line, text[start : marker.start() + 1])
        begin = marker.end()
        if begin > marker.start() + 1:  # the marker's line is left out
            begin += 1
        line += text.count("\n", start, begin)
        start = begin
    _add(chunks, line, text[start:])
    return chunks


def _add(chunks: list[Chunk], line: int, text: str) -> None:
    if text[:1] not in _BLANK or _CONTENT.search(text) is not None:
        chunks.append(Chunk(line, text))


def parse(text: str) -> Any:
    """The plain data of one chunk. Raises `Invalid` with everything that is wrong with it."""
    if text[:1] in "{ \t\n" and text.lstrip()[:1] == "{":
        data = _json(text)
        if data is not None:
            return data
    elif (data := quickyaml.load(text)) is not quickyaml.UNDECIDED:
        return data
    root = yamlnodes.compose(text)
    return None if root is None else yamlnodes.convert(root, len(text))


def _json(text: str) -> Any | None:
    """JSON's data; None where it is no JSON, or where a key may stand twice (the long way says which)."""
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    keys = len(_JSON_KEY.findall(text))
    try:
        written = orjson.dumps(data).decode()
    except TypeError:  # nested deeper than orjson writes, which is deeper than we read
        return None
    return data if keys == len(_JSON_KEY.findall(written)) else None


_JSON_KEY = re.compile(r'"(?:[^"\\]++|\\.)*+"\s*+:')
