"""An AuthPolicy's `routing` -> cases of routes: other backends for those whose tokens say so.

References are those of the policy that says them: it is the policy's namespace that needs a ReferenceGrant,
and the policy that is told of one which leads nowhere. Called by `wiring_routes` (which resolves the
references of each route), `wiring_policies` (status) and `effects`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dragoman.diagnostics import Diagnostic, warning
from dragoman.graph.collection import Context
from dragoman.ir import model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators.gateway import backends
from dragoman.translators.gateway.models import auth_routing, authpolicy, httppolicy, policy
from dragoman.translators.gateway.policies import merge

Layers = tuple[merge.Layer[authpolicy.AuthPolicy], ...]


def refers(item: object) -> bool:
    """Whether a policy refers to backends."""
    return isinstance(item, authpolicy.AuthPolicy) and policy.on(item.routing) is not None


def on_route(ctx: Context, sources: backends.Sources, route: ir.Route, layers: Layers) -> ir.Route:
    """The route with its cases. None where nothing reads claims: that is said by `auth.findings`."""
    if not isinstance(route.action, ir.Forward) or not layers:
        return route
    if any(not isinstance(layer.spec, authpolicy.AuthPolicy) for layer in layers):
        return route
    merged = merge.merge(layers)
    given = policy.on(merged.spec.routing)
    if given is None or not given.by_claim or not proven(merged.spec):
        return route
    how = ir.Transport.GRPC if route.match.grpc else ir.Transport.APPLICATION
    sayer = merged.says[("routing",)]
    cases = tuple(_case(ctx, sources, sayer, at, one, how) for at, one in enumerate(given.by_claim))
    return replace(route, action=replace(route.action, cases=cases))


def proven(spec: authpolicy.AuthPolicy) -> bool:
    """Whether anything here reads tokens."""
    return policy.on(spec.jwt) is not None or policy.on(spec.introspection) is not None


def _case(
    ctx: Context,
    sources: backends.Sources,
    sayer: Ref,
    at: int,
    given: auth_routing.Case,
    how: ir.Transport,
) -> ir.Case:
    shares: list[ir.WeightedBackend] = []
    for number, wanted in enumerate(given.backend_refs):
        here = _origin(sayer, at, number)
        found = backends.resolve(ctx, sources, sayer, wanted, here, how)
        if isinstance(found, backends.Unresolved):
            reason = found.finding.message
            shares.append(ir.WeightedBackend(None, wanted.weight, reason=reason, origin=here))
        else:
            shares.append(ir.WeightedBackend(found, wanted.weight, origin=here))
    claims = tuple(ir.Claim(tuple(one.name.split(".")), one.values) for one in given.claims)
    return ir.Case(claims, tuple(shares), Origin(sayer, ("spec", "routing", "byClaim", at)))


def _origin(sayer: Ref, at: int, number: int) -> Origin:
    return Origin(sayer, ("spec", "routing", "byClaim", at, "backendRefs", number))


def unresolved(
    ctx: Context, sources: backends.Sources, ref: Ref, spec: authpolicy.AuthPolicy
) -> Iterator[backends.Unresolved]:
    """The references of one policy that lead nowhere."""
    given = policy.on(spec.routing)
    for at, case in enumerate(given.by_claim if given is not None else ()):
        for number, wanted in enumerate(case.backend_refs):
            found = backends.resolve(ctx, sources, ref, wanted, _origin(ref, at, number))
            if isinstance(found, backends.Unresolved):
                yield found


def uncached(
    route: ir.Route, merged: merge.Merged[httppolicy.HttpPolicy]
) -> tuple[ir.Route, tuple[Diagnostic, ...]]:
    """The route without its cache, if it has cases: what it keeps of one backend is not for the clients of
    another."""
    if route.cache is None or not isinstance(route.action, ir.Forward) or not route.action.cases:
        return route, ()
    where = merged.origin("cache")
    assert where is not None
    message = f"nothing is cached of {route.name}: claims say where its requests go"
    return replace(route, cache=None), (warning("DRG3001", message, where),)
