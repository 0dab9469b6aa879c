"""What a treatment makes of a request, in plain Python: who is let through in maintenance, query, host.

The same as Envoy does with what `envoy/filters` and `envoy/rewrites.py` write. Values with format operators
stay as they are written: `explain` shows them so. Called by `explain`, and by `difference` through it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import quote, unquote_plus

from dragoman.ir import model as ir, rewrite, treatment
from dragoman.ir.match import Compile
from dragoman.ir.request import Prepared, Request


def action(route: ir.Route, request: Request, prepared: Prepared) -> ir.Action:
    """What happens to this request: in maintenance that depends on who asks."""
    closed = route.treatment.maintenance
    if closed is None or exempt(closed, request, prepared):
        return route.action
    return ir.Respond(closed.status, content=closed.body, headers=closed.headers)


def case(forward: ir.Forward, request: Request) -> ir.Case | None:
    """The case that holds for a request whose token is known."""
    for one in forward.cases:
        if all(request.claimed(claim.path) & {*claim.values} for claim in one.claims):
            return one
    return None


def exempt(closed: treatment.Maintenance, request: Request, prepared: Prepared) -> bool:
    """Whether the request is let through. Several values of a header are compared as one, with commas."""
    for name, wanted in closed.exempt_headers:
        values = prepared.headers.get(name)
        if values is not None and wanted in (None, ",".join(values)):
            return True
    client = ipaddress.ip_address(request.client)
    return any(client in ipaddress.ip_network(each) for each in closed.exempt_networks)


def query(changes: treatment.QueryChanges, given: str | None) -> str | None:
    """The query after the changes; what they leave keeps its place and its bytes."""
    if not changes:
        return given
    gone = {*changes.remove, *(name for name, _ in changes.set)}
    pairs = filter(None, (given or "").split("&"))
    kept = [pair for pair in pairs if unquote_plus(pair.partition("=")[0]) not in gone]
    return "&".join((*kept, *(f"{n}={_encoded(v)}" for n, v in (*changes.set, *changes.add)))) or None


def _encoded(value: str) -> str:
    return value if _operators(value) else quote(_literal(value), safe="")


def host(forward: ir.Forward, route: ir.Route, prepared: Prepared, compile: Compile) -> str:
    """The host that the backend is asked for."""
    if forward.hostname:
        return forward.hostname
    match forward.host:
        case None:
            return prepared.authority
        case ir.HostFromPath(pattern, value):
            return rewrite.substitute(compile, pattern, value, prepared.path)
        case ir.HostFromHeader(name):
            return _header(route, forward, prepared, name) or prepared.authority


def _header(route: ir.Route, forward: ir.Forward, prepared: Prepared, name: str) -> str:
    """A header of the request after all changes; the first value counts."""
    values = list(prepared.headers.get(name, ()))
    changes = route.treatment.request
    for old, new in changes.rename:
        if old == name:
            values = []
        elif new == name:
            values = list(prepared.headers.get(old, ()))[:1] or values
    if name in changes.remove or any(map(name.startswith, changes.remove_prefixes)):
        values = []
    values = _changed(values, name, changes.set, changes.add)
    several = [route.request_headers]
    weighted = [each for each in forward.backends if each.weight]
    if len(weighted) == 1:
        several.append(weighted[0].request_headers)
    for own in several:
        if name in own.remove:
            values = []
        values = _changed(values, name, own.set, own.add)
    return values[0] if values else ""


def _changed(
    values: list[str], name: str, overwritten: Iterable[tuple[str, str]], added: Iterable[tuple[str, str]]
) -> list[str]:
    for key, value in overwritten:
        if key == name:
            values = [_literal(value)]
    return [*values, *(_literal(value) for key, value in added if key == name)]


def _operators(text: str) -> bool:
    return "%" in text.replace("%%", "")


def _literal(text: str) -> str:
    return text if _operators(text) else text.replace("%%", "%")
