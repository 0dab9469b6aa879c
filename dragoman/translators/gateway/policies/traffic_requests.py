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
from dragoman.translators.gateway.policies import merge

_SECTIONS: Final = ("timeouts",)
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
    if isinstance(action, ir.Forward) and action.timeout is not None:
        yield ("timeouts", "request")


def apply(route: ir.Route, merged: Merged) -> tuple[ir.Route, tuple[Diagnostic, ...]]:
    """The route as the policies want it."""
    action = route.action
    if not isinstance(action, ir.Forward):
        return route, ()
    spec = merged.spec
    if spec.timeouts is not None and not spec.timeouts.disabled and action.timeout is None:
        action = replace(action, timeout=spec.timeouts.request)
    return (route if action is route.action else replace(route, action=action)), ()
