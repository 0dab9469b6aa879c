"""What a route makes of a path, a host and a Location header, in plain Python.

The same as Envoy does with what `envoy/rewrites.py` writes (Gateway API v1.6, HTTPPathModifier and
HTTPRequestRedirectFilter). Called by `explain` and `difference`.
"""

from __future__ import annotations

from typing import assert_never

from dragoman.ir import model as ir, request as requests
from dragoman.ir.request import Prepared, Request


def path(rewrite: ir.PathRewrite | None, prepared: Prepared) -> str:
    """Path and query after the rewrite. The query is kept, unless a full replacement brings its own."""
    match rewrite:
        case None:
            changed = prepared.path
        case ir.ReplaceFullPath(value):
            changed = value or "/"
        case ir.ReplacePrefix(prefix, value):
            changed = _prefix(prefix.rstrip("/"), value.rstrip("/"), prepared.path)
        case _:
            assert_never(rewrite)
    return changed if prepared.query is None or "?" in changed else f"{changed}?{prepared.query}"


def location(redirect: ir.Redirect, request: Request, prepared: Prepared) -> str:
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
    return f"{scheme}://{host}{shown}{path(redirect.path, prepared)}"


def _prefix(prefix: str, value: str, path: str) -> str:
    rest = path[len(prefix) :]
    if value:
        return f"{value}{rest}"
    return f"/{rest.lstrip('/')}" if prefix else path
