"""A TrafficPolicy's part about requests -> routes. What a route says itself (HTTPRoute's `timeouts`, `retry`)
wins over every policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from dragoman.diagnostics import Diagnostic, warning
from dragoman.ir import model as ir
from dragoman.refs import FieldPath, Origin
from dragoman.translators.gateway.models import trafficpolicy
from dragoman.translators.gateway.policies import merge, traffic_failures, traffic_retries, traffic_times

_SECTIONS: Final = ("timeouts", "retries", "fallback", "faults")
"""The sections of the spec that concern requests."""

Merged = merge.Merged[trafficpolicy.TrafficPolicy]


def disagreement(
    route: ir.Route, several: Sequence[tuple[merge.Layer[trafficpolicy.TrafficPolicy], ...]]
) -> tuple[Diagnostic, ...]:
    """What to say where the backends of one rule have policies that say different things about requests."""
    specs = [merge.merge(layers).spec if layers else None for layers in several]
    wishes = [tuple(getattr(spec, name, None) for name in _SECTIONS) for spec in specs]
    if all(wish == wishes[0] for wish in wishes) or route.origin is None:
        return ()
    where = Origin(route.origin.ref, (*route.origin.path[:3], "backendRefs"))
    message = "the backends' TrafficPolicies say different things about requests: none of it holds here"
    return (warning("DRG1602", message, where, help="target the route, or one of its rules"),)


def inline(route: ir.Route) -> Iterator[FieldPath]:
    """The fields that the route says itself."""
    action = route.action
    if isinstance(action, ir.Forward):
        yield from traffic_times.inline(action)
        if action.retry is not None:
            yield from traffic_retries.inline(action.retry)


def apply(
    route: ir.Route, merged: Merged, reserve: ir.ClusterKey | None = None
) -> tuple[ir.Route, tuple[Diagnostic, ...]]:
    """The route as the policies want it. `reserve`: the cluster that takes over (`traffic_failures`)."""
    action = route.action
    if not isinstance(action, ir.Forward):
        return route, ()
    grpc = route.match.grpc
    made = traffic_times.apply(action, merged)
    retry, findings = traffic_retries.retry(action.retry, merged, made.timeout, grpc=grpc)
    made, more = traffic_failures.apply(replace(made, retry=retry), merged, reserve, grpc=grpc)
    found = (*findings, *more, *_hedging(made, merged), *traffic_times.check(made, merged))
    return (route if made == action else replace(route, action=made)), found


def _hedging(action: ir.Forward, merged: Merged) -> Iterator[Diagnostic]:
    origin = merged.origin("retries", "hedge")
    if action.retry is not None and action.retry.hedge and not action.try_timeout and origin is not None:
        message = "without `timeouts.perTry` no second request is ever sent"
        yield warning("DRG3001", message, origin)
