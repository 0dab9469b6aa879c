"""Where a request has its credential, and how it is taken out. Pure; called by `service`.

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


class Removal(NamedTuple):
    """What does not go on to the backend. `cookie`: the header's new value, None where it stays."""

    headers: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    cookie: str | None = None


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


def remove(request: Request, *emptied: ir.Places) -> Removal:
    """Every place that may have a credential is emptied, not only the one that decided."""
    placed = [one for places in emptied for one in places.headers]
    names = dict.fromkeys(name for name, prefix in placed if _holds(request.headers.get(name), prefix))
    headers = tuple(names)
    params = tuple(dict.fromkeys(name for places in emptied for name in places.params))
    cookies = {name for places in emptied for name in places.cookies}
    cookie = request.headers.get("cookie")
    if cookie is None or not cookies:
        return Removal(headers, params)
    left = [crumb for crumb in cookie.split(";") if crumb.partition("=")[0].strip() not in cookies]
    kept = ";".join(left).strip()
    return Removal(headers, params, kept if kept != cookie.strip() else None)


def _holds(value: str | None, prefix: str) -> bool:
    return value is not None and value.strip()[: len(prefix)].lower() == prefix.lower()


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
