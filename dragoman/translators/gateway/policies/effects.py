"""What the policies in force do to a route: the place where every kind that concerns requests comes in.

Called by `wiring_routes` for each route and each listener where policies differ. What is made of a stack of
policies is made once, since merged specs are (`merge.merge`), whatever the number of routes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from dragoman.diagnostics import Diagnostic
from dragoman.graph.collection import Collection, Context, Graph
from dragoman.ir import model as ir
from dragoman.ir.order import LAST
from dragoman.refs import FieldPath, Ref
from dragoman.translators.gateway.policies import (
    auth,
    auth_routing,
    http,
    merge,
    ratelimits,
    stacks,
    traffic_backends,
    traffic_requests,
)

Effect = tuple[ir.Route, tuple[Diagnostic, ...]]

_NOTHING: Final[tuple[Diagnostic, ...]] = ()
_PLAIN: Final = ir.Route("unmatched", ir.RouteMatch(ir.SegmentPrefix("/")), ir.Respond(404), LAST)


def on_route(
    route: ir.Route,
    stack: stacks.Stack,
    whole: stacks.Stack,
    reserve: ir.ClusterKey | None,
    keys_of: auth.KeysOf,
    asked: ir.ClusterKey | None = None,
    standing_of: auth.StandingOf = lambda _: None,
) -> Effect:
    """The route with what `whole` says of it; its clusters with what `stack`, the part of it that backends
    do not say themselves, says of them. `reserve`: the cluster that takes over, where `whole` says one;
    `keys_of`: the keys of an AuthPolicy's issuers; `asked`: the cluster of the service that it has asked;
    `standing_of`: its introspection."""
    findings = _NOTHING
    said: tuple[ir.Said, ...] = ()
    if whole.traffic:
        traffic = merge.merge(whole.traffic)
        inline = tuple(traffic_requests.inline(route))
        route, findings = traffic_requests.apply(route, traffic, reserve)
        said = _said(traffic.said, (*traffic_backends.FIELDS, *inline))
    if stack.traffic:
        users = merge.merge(stack.traffic).sayers(traffic_backends.FIELDS)
        route = _with_policies(route, users) if users else route
    if whole.http:
        treatment = merge.merge(whole.http)
        route, more = http.apply(route, treatment)
        route, lost = auth_routing.uncached(route, treatment)
        more += lost
        findings, said = findings + more, said + treatment.said
    shut = bool(whole.http) and http.shut(merge.merge(whole.http))  # that answer goes before everything
    if whole.limits:
        limits = merge.merge(whole.limits)
        limited, more = ratelimits.apply(route, limits)
        route = route if shut else limited
        findings, said = findings + more, said + limits.said
    if whole.auth:
        # Last: where nobody may pass, nothing else matters.
        guarded, more_said = auth.apply(route, whole.auth, keys_of, asked, standing_of)
        route = route if shut else guarded
        said += more_said
        findings += auth.findings(whole.auth)
    if route.limits and route.auth is None:
        findings += ratelimits.unknown(route, whole.limits)
    return (replace(route, said=said) if said else route), findings


def without(route: ir.Route, barred: Mapping[ir.ClusterKey, str]) -> ir.Route:
    """The route kept from some of its backends (and why): their share is answered with 500, their copies are
    not made."""
    action = route.action
    if not isinstance(action, ir.Forward):
        return route

    def kept(each: ir.WeightedBackend) -> ir.WeightedBackend:
        if each.cluster is None or not barred.get(each.cluster):
            return each
        return replace(each, cluster=None, reason=barred[each.cluster])

    mirrors = tuple(each for each in action.mirrors if not barred.get(each.cluster))
    return replace(route, action=replace(action.changed(kept), mirrors=mirrors))


def unmatched(graph: Graph, listeners: stacks.Listeners) -> Collection[tuple[Ref, str], ir.Route]:
    """What becomes of requests that no route of a listener matches: its HTTPPolicies hold for them too."""

    def made(_: Context, __: tuple[Ref, str], stack: stacks.Stack) -> ir.Route | None:
        if not stack.http:
            return None
        merged = merge.merge(stack.http)
        found, _findings = http.apply(_PLAIN, merged)
        return None if found is _PLAIN else replace(found, said=merged.said)

    return graph.map_one("unmatched", listeners, made)


def _said(said: tuple[ir.Said, ...], without: Iterable[FieldPath]) -> tuple[ir.Said, ...]:
    """What holds of what was said: not what the route says itself, nor a section that is switched off."""
    left_out = tuple(without)
    off = tuple(one.origin.path[1:2] for one in said if one.origin.path[2:] == ("disabled",))
    return tuple(
        one
        for one in said
        if not any(one.origin.path[1 : 1 + len(path)] == path for path in left_out)
        and (one.origin.path[1:2] not in off or one.origin.path[2:] == ("disabled",))
    )


def _with_policies(route: ir.Route, policies: tuple[Ref, ...]) -> ir.Route:
    action = route.action
    if not isinstance(action, ir.Forward):
        return route

    def under(one: ir.WeightedBackend) -> ir.WeightedBackend:
        return one if one.cluster is None else replace(one, cluster=one.cluster._replace(policies=policies))

    mirrors = tuple(replace(m, cluster=m.cluster._replace(policies=policies)) for m in action.mirrors)
    action = replace(action.changed(under), mirrors=mirrors)
    if action.fallback is not None and action.fallback.cluster is not None:
        cluster = action.fallback.cluster._replace(policies=policies)
        action = replace(action, fallback=replace(action.fallback, cluster=cluster))
    return replace(route, action=action)
