"""The fast path: documents in the plain subset of YAML, read line by line.

libyaml seen from Python makes an object for every event and takes ten times as long. Here each line is
taken apart by one regular expression, and remembered: most lines of most documents are the same
(`kind: HTTPRoute`, `port: 8080`), and so are the strings made of them. The subset is one-line keys, plain or
quoted one-line scalars, one-line flow collections, comments. Whatever else there is, and whatever is wrong,
is `UNDECIDED` and goes the long way (`yamlnodes`), which also words the errors. That both ways agree is what
`tests/property/test_yamldoc.py` looks after. Called by `yamldoc` only.
"""

from __future__ import annotations

import functools
import math
import re
import sys
from collections.abc import Sequence
from typing import Any, Final

from dragoman.sources import yamlnodes

UNDECIDED: Final = object()
"""The answer for a document outside the subset, or in error."""

_REMEMBERED: Final = 2048
"""Lines kept at once."""
_LONGEST: Final = 160
"""Characters of a line up to which it is kept."""
_WIDEST: Final = 88
"""Column up to which something may begin. Every level of nesting takes one, so that it bounds the depth."""
_DEEPEST: Final = 6
"""Flow collections within one another."""

_NOTHING: Final = object()
"""The value of a key that has none in its line."""


_Line = tuple[int, tuple[int, ...], str, Any]
"""A line with something in it: the column where that begins; behind each `- ` the column in which its item
begins; the key, or ""; the value, or `_NOTHING`."""


class _Unclear(Exception):  # noqa: N818 (nothing is wrong yet)
    """Something in a line lies outside the subset."""


# What a scalar may consist of; a colon may stand inside, before one of these.
_INNER = r"[A-Za-z0-9_./+=()@^;$~*\\-]"
_BLOCK = r"[A-Za-z0-9_./+=()@^;$~*\\,'\"!&<>?|%{}\[\]-]"
"""Outside of flow collections."""
_FIRST = r"(?:[A-Za-z0-9_/.+~]|-(?=[0-9.]))"
_KEY = r'(?:([A-Za-z_/][A-Za-z0-9_./-]{0,250}+)|"([A-Za-z_][A-Za-z0-9_./ -]{0,250}+)"):'
_DOUBLE = r'"((?:[ !#-\[\]-~]|\\[\\"nt])*+)"'
_SINGLE = r"'((?:[ -&(-~]|'')*+)'"
_REST = r" *+(?:(?<![^ ])#[\t -~]*+)?+\Z"
"""A comment, or nothing."""


def _plain(inner: str) -> str:
    return rf"{_FIRST}{inner}*+(?::++{inner}++)*+(?: ++{inner}++(?::++{inner}++)*+)*+"


@functools.cache
def _line() -> re.Pattern[str]:
    """A line. Groups: indentation, dashes, key (plain, quoted), value (plain, double-quoted, single-quoted,
    flow, of which everything to the end is taken)."""
    value = rf"(?:({_plain(_BLOCK)})|{_DOUBLE}|{_SINGLE}|([\[{{].*+))"
    return re.compile(rf"( *+)((?:- ++(?!#|\Z))*+)(?:{_KEY}(?=\s|\Z) *+)?+{value}?+{_REST}")


@functools.cache
def _part() -> re.Pattern[str]:
    """What may stand in a flow collection: a scalar (plain, double-quoted, single-quoted), or another one."""
    end = r"(?= *+[,\]}])"
    return re.compile(rf"({_plain(_INNER)}){end}|{_DOUBLE}{end}|{_SINGLE}{end}|([\[{{])")


@functools.cache
def _flow_key() -> re.Pattern[str]:
    return re.compile(rf"{_KEY} ++")


_SPACE = re.compile(r" *+")
_STEP = re.compile(r" *+([,\]}])")
_END = re.compile(_REST)
_WORD = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*+\Z")
_DASH = re.compile(r"- ++")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED: Final = {"\\": "\\", '"': '"', "n": "\n", "t": "\t"}
# Characters beyond ASCII that are printable to libyaml and a line break to nobody; to YAML they are all
# like letters.
_FOREIGN = re.compile("[\xa1-\u1fff\u3000-\ud7ff]")


class _Lines(dict[str, _Line | None]):
    """Lines taken apart; None for one that is blank or a comment. Raises `_Unclear`.

    A line that is new has, as a rule, a known key and another word behind it (`name: r7`): `_heads` has the
    former.
    """

    def __missing__(self, line: str) -> _Line | None:
        head, colon, word = line.partition(": ")
        known = _heads.get(head) if colon else None
        taken: _Line | None
        if known is not None and _WORD.match(word) is not None and word not in yamlnodes.WORDS:
            taken, lasts = (known[0], known[1], known[2], sys.intern(word)), True
        else:
            taken, lasts = _take(line)
        if lasts and len(line) <= _LONGEST:
            if len(self) >= _REMEMBERED:
                self.clear()
                _heads.clear()
            self[line] = taken
            if colon and taken is not None and taken[2]:
                _heads[head] = taken
        return taken


_heads: Final[dict[str, _Line]] = {}


_lines: Final = _Lines()


def load(text: str) -> Any:
    """The document's plain data, or `UNDECIDED`."""
    nothing = _NOTHING
    root: dict[str, Any] = {}
    # Where we are: the collection, the column of its entries, and the key that still waits for its value.
    here: Any = root
    at, waits = -1, ""
    outer: list[tuple[Any, int]] = []
    try:
        for taken in map(_lines.__getitem__, text.split("\n")):
            if taken is None:
                continue
            column, dashes, key, value = taken
            if column > at or (dashes and waits and column == at):
                if not waits and outer:
                    return UNDECIDED
                outer.append((here, at))
                inside: Any = [] if dashes else {}
                here[waits] = inside
                here, at = inside, column
            else:
                while at > column:
                    here, at = outer.pop()
                if dashes:
                    if at != column or type(here) is not list:
                        return UNDECIDED
                else:
                    if type(here) is list:
                        here, at = outer.pop()
                    if at != column or type(here) is list:
                        return UNDECIDED
            waits = ""
            if dashes:
                for inner in dashes[:-1]:
                    outer.append((here, at))
                    here.append(inside := [])
                    here, at = inside, inner
                if not key:
                    here.append(value)
                    continue
                outer.append((here, at))
                here.append(inside := {})
                here, at = inside, dashes[-1]
            elif key in here:
                return UNDECIDED
            if value is nothing:
                here[key] = None
                waits = key
            else:
                here[key] = value
    except _Unclear:
        return UNDECIDED
    return root[""] if root else UNDECIDED


def _take(line: str) -> tuple[_Line | None, bool]:
    """Takes a line apart. Says whether what was made may be used again: a collection must not be shared.
    Raises `_Unclear`."""
    shadow = _shadow(line)
    matched = _line().match(shadow)
    if matched is None:
        raise _Unclear
    _, dash, word, quoted, plain, double, single, flow = _groups(matched, line, shadow)
    column = start = matched.end(1)
    dashes: tuple[int, ...] = ()
    if dash:
        dashes = tuple([column + step.end() for step in _DASH.finditer(dash)])
        start = dashes[-1]
    if start > _WIDEST or word in yamlnodes.WORDS:
        raise _Unclear
    value = _flow(flow) if flow else _scalar(plain, double, single)
    if type(value) is str:
        value = sys.intern(value)  # the name of a Service stands in many lines, and each would make its own
    key = sys.intern(word or quoted or "")
    if not key and not dash:
        if value is not _NOTHING:
            raise _Unclear
        return None, True
    return (column, dashes, key, value), not flow


def _shadow(text: str) -> str:
    """The text with all characters beyond ASCII that count as letters made one."""
    return text if text.isascii() else _FOREIGN.sub("x", text)


def _groups(matched: re.Match[str], text: str, shadow: str) -> Sequence[Any]:
    """What was matched in the shadow, as it stands in the text."""
    if shadow is text:
        return matched.groups()
    return [text[start:end] if start >= 0 else None for start, end in matched.regs[1:]]


def _scalar(plain: str | None, double: str | None, single: str | None) -> Any:
    if plain is not None:
        value = yamlnodes.resolve(plain)
        if type(value) is float and not math.isfinite(value):
            raise _Unclear
        return value
    if double is not None:
        return _ESCAPE.sub(_unescape, double) if "\\" in double else double
    return _NOTHING if single is None else single.replace("''", "'")


def _unescape(escape: re.Match[str]) -> str:
    return _ESCAPED[escape[1]]


def _flow(text: str) -> Any:
    """The data of a flow collection that nothing but a comment follows. Raises `_Unclear`."""
    shadow = _shadow(text)
    made, at = _collection(text, shadow, 0, 1)
    if _END.match(shadow, at) is None:
        raise _Unclear
    return made


def _collection(text: str, shadow: str, at: int, depth: int) -> tuple[Any, int]:
    """The data of the flow collection that begins here, and where it ends."""
    closing = "}" if text[at] == "{" else "]"
    pairs: dict[str, Any] = {}
    items: list[Any] = []
    made: Any = pairs if closing == "}" else items
    at = _found(_SPACE, shadow, at + 1).end()
    if shadow.startswith(closing, at):
        return made, at + 1
    while depth <= _DEEPEST:
        key = ""
        if made is pairs:
            found = _found(_flow_key(), shadow, at)
            plain, quoted = _groups(found, text, shadow)
            key = plain or quoted
            at = found.end()
            if plain in yamlnodes.WORDS or key in pairs:
                break
        found = _found(_part(), shadow, at)
        at = found.end()
        *scalar, inner = _groups(found, text, shadow)
        if inner:
            value, at = _collection(text, shadow, at - 1, depth + 1)
        else:
            value = _scalar(*scalar)
        if made is pairs:
            pairs[key] = value
        else:
            items.append(value)
        step = _found(_STEP, shadow, at)
        if step[1] == closing:
            return made, step.end()
        if step[1] != ",":
            break
        at = _found(_SPACE, shadow, step.end()).end()
    raise _Unclear


def _found(pattern: re.Pattern[str], text: str, at: int) -> re.Match[str]:
    if (matched := pattern.match(text, at)) is None:
        raise _Unclear
    return matched
