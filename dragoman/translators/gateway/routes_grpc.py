"""GRPCRoute rules -> IR routes (Gateway API v1.6, GRPCRoute).

A method is a path to HTTP: `/service/method`. Everything but the matches is `routes_http`'s work; backends
that say nothing else are spoken to in HTTP/2, and where there is none a client sees UNAVAILABLE.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dragoman.diagnostics import Diagnostic
from dragoman.graph.collection import Context
from dragoman.ir import model as ir, order
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import backends, matching, routes_http
from dragoman.translators.gateway.models import grpcroute as model, httproute

_UNAVAILABLE: Final = 503
"""What Envoy turns into the gRPC status UNAVAILABLE."""
_ANYTHING: Final = (model.Match(),)
_ANY_NAME: Final = "[^/]+"


def translate(
    ctx: Context, sources: backends.Sources, ref: Ref, item: base.Object[model.GrpcRoute]
) -> routes_http.Rules:
    """All rules of one GRPCRoute."""
    work = routes_http.Work(ctx, sources, item, ir.Transport.GRPC, _UNAVAILABLE)
    for index, rule in enumerate(item.spec.rules):
        work.rule(index, as_http(rule), _matches(Origin(ref, ("spec", "rules", index)), rule), _precedence)
    return work.done(item.spec.rules)


def as_http(rule: model.Rule) -> httproute.Rule:
    """The part that both kinds of rules have."""
    return httproute.Rule(
        name=rule.name,
        matches=(),
        filters=rule.filters,
        backend_refs=rule.backend_refs,
        session_persistence=rule.session_persistence,
    )


def _matches(origin: Origin, rule: model.Rule) -> Iterator[ir.RouteMatch | Diagnostic]:
    for at, match in enumerate(rule.matches or _ANYTHING):
        headers = matching.headers(match.headers, origin.at("matches", at, "headers"))
        path = _path(match.method, origin.at("matches", at, "method"))
        if isinstance(headers, Diagnostic):
            yield headers
        elif isinstance(path, Diagnostic):
            yield path
        else:
            yield ir.RouteMatch(path, "", headers, (), grpc=True)


def _path(method: model.MethodMatch | None, origin: Origin) -> ir.PathMatch | Diagnostic:
    if method is None or not (method.service or method.method):
        return ir.SegmentPrefix("/")
    if method.type == "Exact":
        if not method.method:
            return ir.SegmentPrefix(f"/{method.service}")
        if method.service:
            return ir.ExactPath(f"/{method.service}/{method.method}")
        return ir.RegexPath(f"/{_ANY_NAME}/{method.method}")
    for field, pattern in (("service", method.service), ("method", method.method)):
        flaw = matching.flaw_of(pattern) if pattern else ""
        if flaw:
            return matching.bad(pattern, flaw, origin.at(field))
    return ir.RegexPath(f"/(?:{method.service or _ANY_NAME})/(?:{method.method or _ANY_NAME})")


def _precedence(
    match: ir.RouteMatch, created: str, object_id: str, rule: int, index: int, priority: int
) -> order.Order:
    """By characters of the service, then of the method, then by headers (GRPCRouteRule.matches)."""
    service, method = _lengths(match.path)
    return order.Order(
        -priority,
        order.EXACT,
        -service,
        -method,
        -len(match.headers),
        0,
        created or "~",
        object_id,
        rule,
        index,
    )


def _lengths(path: ir.PathMatch) -> tuple[int, int]:
    text = path.pattern if isinstance(path, ir.RegexPath) else path.value
    service, _, method = text.removeprefix("/").partition("/")
    if isinstance(path, ir.RegexPath):
        service, method = (part.removeprefix("(?:").removesuffix(")") for part in (service, method))
        # `[^/]+` holds the slash at which the two were parted.
        if text.startswith((f"/{_ANY_NAME}/", f"/(?:{_ANY_NAME})/")):
            method = text.partition("+/")[2] or text.partition("+)/")[2]
            return 0, len(method.removeprefix("(?:").removesuffix(")"))
        if method == _ANY_NAME:
            return len(service), 0
    return len(service), len(method)
