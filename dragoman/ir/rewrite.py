"""What a route makes of a path, a host and a Location header, in plain Python.

The same as Envoy does with what `envoy/rewrites.py` writes (Gateway API v1.6, HTTPPathModifier and
HTTPRequestRedirectFilter). Called by `explain` and `difference`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, assert_never

from dragoman.ir import model as ir, request as requests
from dragoman.ir.match import Compile
from dragoman.ir.request import Prepared, Request

_PIECE: Final = re.compile(r"\\.|[^\\]+")


def path(rewrite: ir.PathRewrite | None, prepared: Prepared, compile: Compile) -> str:
    """Path and query after the rewrite. The query is kept, unless a full replacement brings its own."""
    match rewrite:
        case None:
            changed = prepared.path
        case ir.ReplaceFullPath(value):
            changed = value or "/"
        case ir.ReplacePrefix(prefix, value):
            changed = _prefix(prefix.rstrip("/"), value.rstrip("/"), prepared.path)
        case ir.ReplacePattern(pattern, value):
            changed = substitute(compile, pattern, value, prepared.path)
        case _:
            assert_never(rewrite)
    return changed if prepared.query is None or "?" in changed else f"{changed}?{prepared.query}"


def substitute(compile: Compile, pattern: str, value: str, text: str) -> str:
    """`text` with every match of `pattern` replaced, as RE2's GlobalReplace does it: no empty match directly
    behind another match."""
    parts: list[str] = []
    end = 0
    last = -1
    for found in compile(pattern).finditer(text):
        if found.start() == found.end() == last:
            continue
        parts.append(text[end : found.start()])
        parts.extend(_expanded(value, found))
        end = last = found.end()
    return "".join((*parts, text[end:]))


def _expanded(value: str, found: re.Match[str]) -> Iterator[str]:
    """A substitution with its groups filled in."""
    for piece in _PIECE.findall(value):
        if piece[0] != "\\":
            yield piece
        else:
            yield "\\" if piece[1] == "\\" else found.group(int(piece[1])) or ""


def location(redirect: ir.Redirect, request: Request, prepared: Prepared, compile: Compile) -> str:
    """The Location header of a redirect as its listener has it (the pipeline settled its port).

    Without a port of its own it keeps what the Host header says, but for the well-known port of a scheme
    that it leaves.
    """
    scheme = redirect.scheme or request.scheme
    host = redirect.hostname or prepared.authority
    if not redirect.hostname:
        own = requests.port_of(host)
        left = scheme != request.scheme and own == str(requests.WELL_KNOWN[request.scheme])
        if redirect.port or left:
            host = requests.without_port(host)
    shown = f":{redirect.port}" if redirect.port else ""
    return f"{scheme}://{host}{shown}{path(redirect.path, prepared, compile)}"


def _prefix(prefix: str, value: str, path: str) -> str:
    rest = path[len(prefix) :]
    if value:
        return f"{value}{rest}"
    return f"/{rest.lstrip('/')}" if prefix else path
