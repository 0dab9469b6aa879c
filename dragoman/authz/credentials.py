"""Where a request has its credential. Pure; called by `service`.

Headers come before query parameters, these before cookies; the first place that has anything decides. What
Envoy joins of a header that is there twice has a comma and is no token.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote, unquote_plus

from dragoman.ir import model as ir


class Request(NamedTuple):
    """What of a request may hold a credential. Header names are in lower case."""

    headers: Mapping[str, str]
    path: str
    """With the query."""


def find(request: Request, places: ir.Places) -> str:
    """The credential, "" where there is none."""
    for name, prefix in places.headers:
        value = request.headers.get(name)
        if value is None:
            continue
        value = value.strip()
        if value[: len(prefix)].lower() == prefix.lower() and (found := value[len(prefix) :].strip()):
            return found
    if places.params:
        given = dict(reversed(list(_parameters(request.path))))
        for name in places.params:
            if found := given.get(name, ""):
                return found
    if places.cookies:
        crumbs = dict(reversed(list(_cookies(request.headers.get("cookie", "")))))
        for name in places.cookies:
            if found := crumbs.get(name, ""):
                return found
    return ""


def _parameters(path: str) -> Iterator[tuple[str, str]]:
    for part in path.partition("?")[2].partition("#")[0].split("&"):
        name, _, value = part.partition("=")
        yield unquote_plus(name), unquote(value)


def _cookies(header: str) -> Iterator[tuple[str, str]]:
    for crumb in header.split(";"):
        name, _, value = crumb.partition("=")
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = value[1:-1]
        yield name.strip(), value
