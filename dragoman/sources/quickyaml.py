"""The fast path: rapidyaml for documents in the plain subset of YAML where it agrees with libyaml.

rapidyaml is ten times as fast as libyaml seen from Python, but reads some scalars otherwise (`no`, `010`,
`~`), lets duplicate keys pass and does not resolve anchors by itself. Rather than hunt for what could
differ, `_pattern` spells out what cannot: one-line keys, plain or quoted one-line scalars, one-line flow
collections, comments. What does not match, and whatever rapidyaml stumbles over, goes the long way
(`yamlnodes`), which also words the errors. That both ways agree is what `tests/property/test_yamldoc.py`
looks after. Called by `yamldoc` only.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import orjson
import pydantic_core
import ryml

UNDECIDED: Final = object()
"""The answer for a document outside the subset, or in error."""

_INITIAL_BUFFER = 1 << 16
_REMEMBERED = 4096


def _pattern() -> str:
    """The subset, as a regular expression over one line. Possessive almost throughout: linear."""
    double = r'"(?:[ !#-\[\]-~]|\\[\\"nt])*+"'
    single = r"'(?:[ -&(-~]|'')*+'"
    # Plain scalars. A colon may stand inside, before one of the inner characters.
    inner = r"[A-Za-z0-9_./+=()@^;$~*\\-]"
    run = rf"{inner}*+(?::++{inner}++)*+(?: ++{inner}++(?::++{inner}++)*+)*+"
    end = r"(?=[\s,\]}]|\Z)"
    number = rf"-?(?:0|[1-9][0-9]{{0,15}})(?:\.[0-9]{{1,15}})?{end}"
    # Strings that begin with a digit and are no numbers to anybody: 10s, 500m, 10Gi, 1h30m, 10.0.0.1,
    # 10.0.0.0/8.
    measure = r"[0-9]+(?:[hmsGKMT]|\.[0-9]+\.[0-9])"
    # Booleans and nulls to YAML 1.1 (and so to Kubernetes), strings to YAML 1.2.
    # And what rapidyaml takes for a number against all rules.
    words = "[yYnN]|[yY]es|YES|[nN]o|NO|[oO]n|ON|[oO]ff|OFF|True|TRUE|False|FALSE|Null|NULL|inf|infinity|nan"
    # The look at `words` is for words that begin like one of them.
    first = "[A-EG-MP-SU-XZ_a-eghj-mp-su-xz/]"
    plain = rf"(?:(?:{first}|(?!(?:{words}){end})[FfiNnOoTtYy]|{measure}){run}|{number})"
    scalar = rf"(?:{plain}|{double}|{single})"
    key = (
        rf"(?:(?:{first}|(?!(?:{words}|true|false|null):)[FfiNnOoTtYy])[A-Za-z0-9_./-]{{0,250}}+"
        rf'|"(?!(?:inf|infinity|nan)")[A-Za-z_][A-Za-z0-9_./ -]{{0,250}}+"):'
    )
    value = scalar
    for _ in range(3):  # flow collections within flow collections
        pairs = rf"\{{ *+(?:{key} ++{value} *+(?:, *+(?!\}})|(?=\}})))*+\}}"
        items = rf"\[ *+(?:{value} *+(?:, *+(?!\])|(?=\])))*+\]"
        value = rf"(?:{scalar}|{pairs}|{items})"
    entry = rf"{key}(?=\s|\Z) *+"
    dashes = r"(?:- ++(?![\n#]|\Z))++"
    comment = r"(?:(?<![^ \n])#[\t -~]*+)?+"
    line = rf" *+(?:(?:{dashes}(?:{entry})?+|{entry})(?:{value})?+)?+ *+{comment}"
    return rf"{line}\Z"


@functools.cache
def _matcher() -> Callable[[str], re.Match[str] | None]:
    return re.compile(_pattern()).match


# Characters beyond ASCII that are printable to libyaml and a line break to nobody; to YAML they are all
# like letters.
_FOREIGN = re.compile("[\xa1-\u1fff\u3000-\ud7ff]")


# Lines that have passed. Most lines of most documents are the same: `kind: HTTPRoute`, `port: 8080`.
_passed: set[str] = set()


def _plain(text: str) -> bool:
    """Whether a document stays within the subset: a matter of each line alone."""
    lines = set((text if text.isascii() else _FOREIGN.sub("x", text)).split("\n"))
    lines -= _passed
    if not all(map(_matcher(), lines)):
        return False
    if len(_passed) > _REMEMBERED:
        _passed.clear()
    _passed.update(lines)
    return True


_tree = ryml.Tree()
_buffer = bytearray(_INITIAL_BUFFER)


def load(text: str) -> Any:
    """The document's plain data, or `UNDECIDED`. To be called inside `silence()`."""
    global _buffer
    if not _plain(text):
        return UNDECIDED
    _tree.clear()
    _tree.clear_arena()
    try:
        ryml.parse_in_arena(text.encode(), _tree)
        failed, size = ryml.emit_json_to_substr(_tree, _tree.root_id(), _buffer)
        if failed:
            _buffer = bytearray(2 * size)
            size = ryml.emit_json_to_substr(_tree, _tree.root_id(), _buffer)[1]
        # Most strings of most documents are the same, and are made once: `name: shop`, `type: PathPrefix`.
        body = pydantic_core.from_json(_buffer[:size], cache_strings="all")
    except (ryml.ExceptionBasic, ValueError, RuntimeError):
        return UNDECIDED
    # Of duplicate keys the last one stays; the count of keys tells.
    if _buffer.count(b'": ', 0, size) != orjson.dumps(body, option=orjson.OPT_INDENT_2).count(b'": '):
        return UNDECIDED
    return body


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keeps rapidyaml from writing its errors to the C library's `stderr`; its Python binding offers no
    callback.

    Points libc's `stderr` variable at /dev/null and back. File descriptor 2, and with it all that Python
    and child processes write, stays what it was. Where libc has no such variable, the text is written: a
    blemish, not a fault.
    """
    stderr, sink = _c_stderr()
    if stderr is None:
        yield
        return
    saved = stderr.value
    stderr.value = sink
    try:
        yield
    finally:
        stderr.value = saved


@functools.cache
def _c_stderr() -> tuple[ctypes.c_void_p | None, int | None]:
    try:
        libc = ctypes.CDLL(None)
        variable = ctypes.c_void_p.in_dll(libc, "stderr")
        libc.fopen.restype = ctypes.c_void_p
        sink = libc.fopen(b"/dev/null", b"w")
    except (OSError, ValueError, AttributeError):
        return None, None
    return (variable, sink) if sink else (None, None)
