"""HTTPPolicies -> routes."""

from __future__ import annotations

from dataclasses import replace

from dragoman.diagnostics import Diagnostic
from dragoman.ir import model as ir
from dragoman.translators.gateway.models import httppolicy
from dragoman.translators.gateway.policies import merge

Merged = merge.Merged[httppolicy.HttpPolicy]


def apply(route: ir.Route, merged: Merged) -> tuple[ir.Route, tuple[Diagnostic, ...]]:
    """The route as the policies want it."""
    closed = merged.spec.maintenance
    if closed is not None and not closed.disabled:
        route = replace(route, action=ir.Respond(503, closed.body or ""))
    return route, ()
