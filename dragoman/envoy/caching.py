"""Cached routes: one IR route becomes two Envoy routes, the first for requests that the cache may answer.

Both do the same, but for the cache. What a request must be like stands in the first one's match, which is
plain and certain: GET or HEAD, no credentials (unless the policy splits or shares), no condition of the
client's own, nothing to upgrade, no query parameter that the policy does not name. Called by `routes.py`.

A cached route's bytes depend on its table: the cache asks the inner listener of the same table
(`inner.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from dragoman import proto, resource
from dragoman.envoy import bootstrap, naming
from dragoman.envoy.filters import base, cache
from dragoman.ir import cache as kept, model as ir
from dragoman.proto.envoy.config.route import v3 as route_proto

_OWN_ANSWER: Final = (
    "if-none-match",
    "if-modified-since",
    "if-match",
    "if-unmodified-since",
    "if-range",
    "upgrade",
)
"""Headers that ask for an answer of one's own. Envoy's cache sends conditional requests to the backend in
any case."""


def cached(route: ir.Route) -> ir.Cache | None:
    """The cache of a route, if anything may be kept: only what backends answer to reading requests is."""
    spec = route.cache
    if spec is None or not isinstance(route.action, ir.Forward) or route.action.cases:
        return None  # what one backend answers is not what another would
    if route.auth is not None:
        spec = replace(spec, authenticated=True)
    if not spec.usable:
        return None
    if route.match.grpc or route.match.method not in ("", "GET", "HEAD"):
        return None
    if route.match.share:
        return None  # a drawn number and the bootstrap's word are conditions of one kind, and a match has one
    return spec if any(b.weight > 0 and b.cluster is not None for b in route.action.backends) else None


def split(
    message: route_proto.Route, pins: Iterable[route_proto.Route], spec: ir.Cache, scope: ir.Scope
) -> route_proto.Route:
    """The route to put before `message`, a finished route, and its pins (`sessions`). All of them learn
    how long answers live: the cache revalidates what it has with conditional requests, which the first
    does not match."""
    identity = resource.digest(proto.serialize(message), spec.version.encode())
    for each in (message, *pins):
        _wake(each, cache.ANSWER, cache.answer(spec))
    asked = route_proto.Route()
    asked.CopyFrom(message)
    _wake(asked, cache.NAME, cache.outer(spec, naming.inner(scope), identity))
    _match(asked.match, spec)
    return asked


def _match(target: route_proto.RouteMatch, spec: ir.Cache) -> None:
    method = target.headers.add()
    method.name = ":method"
    method.string_match.safe_regex.regex = "GET|HEAD"
    open_to_all = spec.shared or spec.identity
    for name in (*_OWN_ANSWER, *(() if open_to_all else spec.credentials)):
        absent = target.headers.add()
        absent.name = name
        absent.present_match = True
        absent.invert_match = True
    if spec.parameters is not None:
        query = target.headers.add()
        query.name = ":path"
        query.string_match.safe_regex.regex = kept.parameters((*spec.parameters, *spec.ignored))
    target.runtime_fraction.runtime_key = bootstrap.CACHING
    target.runtime_fraction.default_value.SetInParent()


def _wake(target: route_proto.Route, name: str, config: base.Config) -> None:
    entry = target.typed_per_filter_config[name]
    entry.type_url, entry.value = config
