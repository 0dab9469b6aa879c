"""HTTPPolicies -> routes: what is done to requests and responses themselves.

What an HTTPRoute says by its filters wins on its rule: a redirect goes before a direct response, a
URLRewrite before the policy's rewrite, a ResponseHeaderModifier before the policy's changes of the same
headers (those of requests come first in Envoy anyway). Maintenance goes before everything.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Final

from dragoman.diagnostics import Diagnostic
from dragoman.ir import model as ir, treatment
from dragoman.translators.gateway.models import httppolicy
from dragoman.translators.gateway.policies import cache, http_parts, merge

Merged = merge.Merged[httppolicy.HttpPolicy]

_CLOSED: Final = 503


def apply(route: ir.Route, merged: Merged) -> tuple[ir.Route, tuple[Diagnostic, ...]]:
    """The route as the policies want it."""
    action = _action(route.action, merged)
    wanted = _treatment(merged)
    if not isinstance(action, ir.Forward):
        # Nothing that is meant for backends may show in a Location or in an answer.
        wanted = replace(wanted, request=treatment.HeaderChanges(), query=treatment.QueryChanges())
    if action is not route.action and isinstance(action, ir.Respond):
        # It says what it says: no override, and no body is read.
        wanted = replace(wanted, overrides=(), body_limit=None, decompression=())
    if wanted.response:
        kept = wanted.response.without(_own(route))
        if kept != wanted.response:
            wanted = replace(wanted, response=kept)
    if action is not route.action or wanted:
        route = replace(route, action=action, treatment=wanted)
    if merged.spec.cache is None:
        return route, ()
    made, findings = cache.cache(route, merged.spec.cache, functools.partial(merged.origin, "cache"))
    return (route if made is None else replace(route, cache=made)), findings


def shut(merged: Merged) -> bool:
    """Whether nobody gets anything but the answer of maintenance."""
    closed = merged.spec.maintenance
    return closed is not None and not closed.disabled and not http_parts.exempt(closed)


def _action(action: ir.Action, merged: Merged) -> ir.Action:
    spec = merged.spec
    if shut(merged):
        return _maintenance(merged)
    answer = spec.direct_response
    if answer is not None and not answer.disabled and not isinstance(action, ir.Redirect):
        return _answer(merged)
    if isinstance(action, ir.Forward) and spec.rewrite is not None and not spec.rewrite.disabled:
        path, host = spec.rewrite.path, spec.rewrite.host
        if path is not None and action.rewrite is None:
            action = replace(action, rewrite=ir.ReplacePattern(path.regex, path.substitution))
        if host is not None and not action.hostname:
            action = replace(action, hostname=host.name or "", host=http_parts.host(host))
    return action


@functools.lru_cache(maxsize=4096)
def _maintenance(merged: Merged) -> ir.Respond:
    assert merged.spec.maintenance is not None
    body, headers = http_parts.closed(merged.spec.maintenance)
    return ir.Respond(_CLOSED, content=body, headers=headers)


@functools.lru_cache(maxsize=4096)
def _answer(merged: Merged) -> ir.Respond:
    answer = merged.spec.direct_response
    assert answer is not None
    content = http_parts.body(answer.body) if answer.body is not None else None
    return ir.Respond(answer.status or 200, content=content, headers=http_parts.pairs(answer.headers))


@functools.lru_cache(maxsize=4096)
def _treatment(merged: Merged) -> ir.Treatment:
    """Everything of a route but its action; the same for all routes under the same policies."""
    spec = merged.spec
    body = spec.request_body
    maintenance = None
    if spec.maintenance is not None and not spec.maintenance.disabled and http_parts.exempt(spec.maintenance):
        content, headers = http_parts.closed(spec.maintenance)
        allowed = spec.maintenance.exempt
        assert allowed is not None
        names = tuple((one.name.lower(), one.value) for one in allowed.headers)
        maintenance = treatment.Maintenance(_CLOSED, content, headers, names, allowed.addresses)
    made = ir.Treatment(
        http_parts.changes(spec.request_headers),
        http_parts.changes(spec.response_headers),
        http_parts.query(spec.query_parameters),
        http_parts.compression(spec.compression),
        http_parts.decompression(spec.decompression),
        body.max_size if body is not None and not body.disabled else None,
        http_parts.overrides(spec.response_override),
        maintenance,
    )
    return made or ir.UNTREATED


def _own(route: ir.Route) -> frozenset[str]:
    """The response headers that the route's own filters change, on the rule or on a backend."""
    found = [route.response_headers]
    if isinstance(route.action, ir.Forward):
        found += [backend.response_headers for backend in route.action.backends]
    return frozenset(
        name.lower() for one in found if one for name in (*dict(one.set), *dict(one.add), *one.remove)
    )
