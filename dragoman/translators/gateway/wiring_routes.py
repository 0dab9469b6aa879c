"""Routes: the collections of each kind, those that look into requests and those that do not. A part of
`wiring`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dragoman import frozen
from dragoman.diagnostics import Diagnostic, warning
from dragoman.graph.collection import Collection, Context, Graph
from dragoman.ir import model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import attachment, backends, rivals, routes_http, status, streams
from dragoman.translators.gateway.models import authpolicy
from dragoman.translators.gateway.policies import (
    attach,
    auth,
    auth_external,
    auth_oidc,
    auth_oidc_routes,
    auth_routing,
    auth_sources,
    effects,
    merge,
    stacks,
    traffic_failures,
    traffic_requests,
)
from dragoman.translators.gateway.wiring_parents import Parents

Findings = tuple[Diagnostic, ...]


@frozen.statically
@dataclass(frozen=True, slots=True)
class _Made:
    """What a route object comes to. `routes` None: it stands nowhere. `barred`: the backends that
    TrafficPolicies keep it from."""

    routes: ir.RouteSet | None
    findings: Findings
    barred: frozenset[Ref] = frozenset()


Translate = Callable[[Context, backends.Sources, Ref, Any], routes_http.Rules]


def attachments(
    graph: Graph,
    http: Collection[Ref, base.AnyObject],
    grpc: Collection[Ref, base.AnyObject],
    parents: Parents,
) -> tuple[Collection[Ref, attachment.Attached], Collection[Ref, attachment.Attached]]:
    """Where HTTPRoutes and GRPCRoutes stand: each kind by itself, then beside the other."""

    def alone(ctx: Context, ref: Ref, item: base.AnyObject) -> attachment.Attached:
        return attachment.attach(ctx, parents.attachable, ref, item.spec.parent_refs, item.spec.hostnames)

    return rivals.settle(graph, http, grpc, alone)


class Requests:
    """A kind of routes that look into requests: rules and attachment apart, since they change for different
    reasons."""

    def __init__(
        self,
        graph: Graph,
        objects: Collection[Ref, base.AnyObject],
        kind: str,
        translate: Translate,
        sources: backends.Sources,
        attached: Collection[Ref, attachment.Attached],
        above: stacks.Listeners,
        auth: auth_sources.Sources,
        controller: str,
    ) -> None:
        self._auth = auth
        self._sources = sources
        self._above = above
        self.rules: Collection[Ref, routes_http.Rules] = graph.map_one(
            f"{kind} rules", objects, lambda ctx, ref, item: translate(ctx, sources, ref, item)
        )
        self.attached = attached
        made: Collection[Ref, _Made] = graph.map_one(f"{kind}s and policies", self.rules, self._made)
        self.routes: Collection[Ref, ir.RouteSet] = graph.map_one(
            f"{kind}s", made, lambda _, __, one: one.routes
        )
        accepted = graph.map_one(f"{kind} accepted", self.rules, self._accepted)
        self.counts: Collection[tuple[Ref, str], int] = graph.group_by(
            f"{kind}s of listeners", accepted, lambda _, places: places, lambda _, __, members: len(members)
        )
        self.findings = graph.map_one(f"{kind} findings", made, lambda _, __, one: one.findings or None)
        self.barred: Collection[Ref, frozenset[Ref]] = graph.map_one(
            f"{kind}s barred", made, lambda _, __, one: one.barred or None
        )

        def conditions(ctx: Context, ref: Ref, item: base.AnyObject) -> base.Status | None:
            rules, attached = ctx.fetch(self.rules, ref), ctx.fetch(self.attached, ref)
            if rules is None or attached is None:
                return None
            return status.of_route(
                item, controller, attached, lambda accepted: status.route_conditions(accepted, rules)
            )

        self.statuses = graph.map_one(f"{kind} status", objects, conditions)

    def _made(self, ctx: Context, ref: Ref, rules: routes_http.Rules) -> _Made:
        """The rules as each listener has them: policies of Gateways and listeners come in here."""
        attached = ctx.fetch(self.attached, ref)
        if attached is None:
            return _Made(None, rules.findings, rules.barred)
        findings = attached.findings + rules.findings
        if not attached.attachments:
            return _Made(None, findings, rules.barred)
        own = ctx.fetch(self._sources.attached.at, ref) or {}
        places: dict[stacks.Stack, list[ir.Attachment]] = {}
        for one in attached.attachments:
            above = ctx.fetch(self._above, one.place) or stacks.EMPTY
            places.setdefault(above.over(own.get("")), []).append(one)
        stands: list[ir.Stand] = []
        barred: set[Ref] = set(rules.barred)
        for stack, attachments in places.items():
            routes: list[ir.Route] = []
            for route in rules.routes:
                found, more = self._under(ctx, route, stack.over(_rule_policies(route, rules, own)), barred)
                routes.append(found)
                findings += more
            same = all(one is other for one, other in zip(routes, rules.routes, strict=True))
            stands.append(ir.Stand(tuple(attachments), rules.routes if same else tuple(routes)))
        for stand in stands:
            findings += tuple(auth_oidc_routes.astray(stand.routes))
        made = ir.RouteSet(ref, tuple(stands))
        told = tuple(dict.fromkeys(_without_answered(findings, made)))
        return _Made(made, told, frozenset(barred) if barred else rules.barred)

    def _under(self, ctx: Context, route: ir.Route, stack: stacks.Stack, barred: set[Ref]) -> effects.Effect:
        """A route under policies, those of its backends included: where these differ, what they say of
        requests cannot hold for all. Backends that policies keep it from are added to `barred`."""
        whole = stack
        findings: Findings = ()
        route = auth_routing.on_route(ctx, self._sources, route, stack.auth)
        if isinstance(route.action, ir.Forward):
            keys = dict.fromkeys(b.cluster for b in route.action.shares() if b.cluster is not None)
            under = {key: backends.own_policies(ctx, self._sources, key, stack) for key in keys}
            for mirror in route.action.mirrors:
                under.setdefault(
                    mirror.cluster, backends.own_policies(ctx, self._sources, mirror.cluster, stack)
                )
            why = {key: backends.barred_by(ctx, self._sources, own) for key, own in under.items()}
            if any(why.values()):
                route = effects.without(route, why)
                barred.update(key.ref for key, reason in why.items() if reason)
            own = dict.fromkeys(under[key] for key in keys)
            if len(own) == 1:
                whole = next(iter(own))
            elif len(own) > 1:
                findings = traffic_requests.disagreement(route, [one.traffic for one in own])
        if whole == stacks.EMPTY:
            return route, findings
        reserve = self._reserve(ctx, route, stack, whole)
        asked = self._asked(ctx, whole)
        found, more = effects.on_route(
            route,
            stack,
            whole,
            reserve,
            lambda policy: ctx.fetch(self._auth.keys, policy),
            asked,
            lambda policy: ctx.fetch(self._auth.lookups.standings, policy),
        )
        return self._with_provider(ctx, found, whole), (*findings, *more)

    def _reserve(
        self, ctx: Context, route: ir.Route, stack: stacks.Stack, whole: stacks.Stack
    ) -> ir.ClusterKey | None:
        """The cluster that takes over from the route's backends. A reference that leads nowhere, or to what
        policies keep the route from, is reported with its policy."""
        if not whole.traffic or not isinstance(route.action, ir.Forward):
            return None
        merged = merge.merge(whole.traffic)
        origin = merged.origin("fallback", "backendRef")
        if origin is None:
            return None
        grpc = route.match.grpc
        found = traffic_failures.reserve(ctx, self._sources, merged.spec, origin, grpc=grpc)
        if found is None or isinstance(found, backends.Unresolved):
            return None
        own = backends.own_policies(ctx, self._sources, found, stack)
        return None if backends.barred_by(ctx, self._sources, own) else found

    def _asked(self, ctx: Context, whole: stacks.Stack) -> ir.ClusterKey | None:
        """The cluster of the service that an AuthPolicy has asked. None where the reference leads nowhere, or
        to what policies keep everybody from: it is reported with its policy."""
        if not whole.auth or any(not isinstance(one.spec, authpolicy.AuthPolicy) for one in whole.auth):
            return None
        merged = merge.merge(whole.auth)
        origin = merged.origin("external", "backendRef")
        if origin is None:
            return None
        found = auth_external.cluster(ctx, self._sources, merged.spec, origin)
        if found is None or isinstance(found, backends.Unresolved):
            return None
        own = backends.own_policies(ctx, self._sources, found, stacks.EMPTY)
        return None if backends.barred_by(ctx, self._sources, own) else found

    def _with_provider(self, ctx: Context, route: ir.Route, whole: stacks.Stack) -> ir.Route:
        """The route whose login reaches the provider by the backend that its policy names. Where that leads
        nowhere, or policies keep everybody from it, nobody passes: it is reported with its policy."""
        if route.auth is None or route.auth.login is None:
            return route
        merged = merge.merge(whole.auth)
        given = merged.spec.oidc
        if given is None or given.backend_ref is None:
            return route
        found = auth_oidc.reached(ctx, self._sources, merged.says[("oidc",)], given)
        if not isinstance(found, ir.ClusterKey):
            return auth.closed(route, "DRG1841")
        own = backends.own_policies(ctx, self._sources, found, stacks.EMPTY)
        if backends.barred_by(ctx, self._sources, own):
            return auth.closed(route, "DRG1841")
        login = replace(route.auth.login, cluster=found)
        return replace(route, auth=replace(route.auth, login=login))

    def _accepted(
        self, ctx: Context, ref: Ref, rules: routes_http.Rules
    ) -> tuple[tuple[Ref, str], ...] | None:
        """The listeners that count this route: those it is attached to with Accepted true."""
        attached = ctx.fetch(self.attached, ref)
        if attached is None or not rules.usable:
            return None
        return tuple(one.place for one in attached.attachments)


def _without_answered(findings: Findings, made: ir.RouteSet) -> Iterator[Diagnostic]:
    """A rule that a policy answers everywhere needs no backends."""
    for one in findings:
        if one.code != "DRG1306" or any(
            isinstance(route.action, ir.Forward)
            and route.origin is not None
            and route.origin.path[:3] == one.path[:3]
            for route in made.routes
        ):
            yield one


def _rule_policies(
    route: ir.Route, rules: routes_http.Rules, own: attach.Attached
) -> Mapping[str, attach.AnyLayer] | None:
    """The policies that target the route's rule by name."""
    if not rules.names or not own or route.origin is None:
        return None
    name = rules.names[int(route.origin.path[2])]
    return own.get(name) if name else None


class Streams:
    """A kind of routes that do not. How backends are spoken to depends on the listener, so a route may have
    several targets."""

    def __init__(
        self,
        graph: Graph,
        objects: Collection[Ref, base.AnyObject],
        kind: str,
        sources: backends.Sources,
        parents: Parents,
        controller: str,
    ) -> None:
        self.attached: Collection[Ref, attachment.Attached] = graph.map_one(
            f"{kind} attached",
            objects,
            lambda ctx, ref, item: attachment.attach(
                ctx, parents.attachable, ref, item.spec.parent_refs, getattr(item.spec, "hostnames", ())
            ),
        )

        def places(
            ctx: Context, ref: Ref, attached: attachment.Attached
        ) -> dict[ir.Transport, tuple[ir.Attachment, ...]]:
            found: dict[ir.Transport, tuple[ir.Attachment, ...]] = {}
            for one in attached.attachments:
                doors = ctx.fetch(parents.doors, one.parent)
                door = doors.named(one.listener) if doors is not None else None
                how = streams.transport(kind, door is not None and door.passthrough)
                found[how] = (*found.get(how, ()), one)
            return found or {streams.transport(kind, passthrough=False): ()}

        placed = graph.map_one(f"{kind} places", self.attached, places)

        def targets(ctx: Context, ref: Ref, item: base.AnyObject) -> dict[ir.Transport, streams.Target]:
            ways = ctx.fetch(placed, ref) or {}
            return {how: streams.translate(ctx, sources, ref, item, how) for how in ways}

        self.targets: Collection[Ref, dict[ir.Transport, streams.Target]] = graph.map_one(
            f"{kind} targets", objects, targets
        )

        def made(
            ctx: Context, ref: Ref, item: base.AnyObject
        ) -> Iterator[tuple[tuple[Ref, str], ir.StreamRoute]]:
            ways = ctx.fetch(placed, ref) or {}
            found = ctx.fetch(self.targets, ref) or {}
            age = (item.meta.created or "~", ref.id)
            for how, attachments in ways.items():
                if attachments and how in found:
                    target = found[how]
                    origin = Origin(ref, ("spec", "rules", 0))
                    yield (ref, how.value), ir.StreamRoute(ref, attachments, target.backends, age, origin)

        self.routes: Collection[tuple[Ref, str], ir.StreamRoute] = graph.map_many(f"{kind}s", objects, made)
        self.mixtures: Collection[ir.ClusterKey, streams.Mixed] = graph.map_many(
            f"{kind} mixtures",
            self.targets,
            lambda _, __, found: [
                (share.cluster, target.mixed)
                for target in found.values()
                for share in target.backends
                if target.mixed and share.cluster is not None
            ],
        )
        shown = graph.map_many(f"{kind} shown", self.routes, _shown)
        self._first: Collection[tuple[Ref, str, str], Ref] = graph.group_by(
            f"{kind}s with a name", shown, lambda key, _: (key[:3],), lambda _, __, found: min(found)[4]
        )
        self.counts: Collection[tuple[Ref, str], int] = graph.group_by(
            f"{kind}s of listeners",
            self._first,
            lambda key, _: (key[:2],),
            lambda _, __, found: len(set(found.values())),
        )
        self.findings = graph.map_one(f"{kind} findings", self.targets, self._findings)
        self.barred: Collection[Ref, frozenset[Ref]] = graph.map_one(
            f"{kind}s barred",
            self.targets,
            lambda _, __, found: frozenset().union(*(one.barred for one in found.values())) or None,
        )

        def conditions(ctx: Context, ref: Ref, item: base.AnyObject) -> base.Status | None:
            found, attached = ctx.fetch(self.targets, ref), ctx.fetch(self.attached, ref)
            if not found or attached is None:
                return None
            worst = min(found.values(), key=lambda target: target.resolved.status)
            return status.of_route(
                item, controller, attached, lambda accepted: status.stream_conditions(accepted, worst)
            )

        self.statuses = graph.map_one(f"{kind} status", objects, conditions)

    def _findings(self, ctx: Context, ref: Ref, found: dict[ir.Transport, streams.Target]) -> Findings | None:
        attached = ctx.fetch(self.attached, ref)
        own = dict.fromkeys(finding for target in found.values() for finding in target.findings)
        if attached is None:
            return tuple(own) or None
        return (*attached.findings, *own, *self._beaten(ctx, ref, attached)) or None

    def _beaten(self, ctx: Context, ref: Ref, attached: attachment.Attached) -> Iterator[Diagnostic]:
        """Listeners where older routes have everything that this one wants."""
        for one in attached.attachments:
            holders = [ctx.fetch(self._first, (one.parent, one.listener, name)) for name in one.hostnames]
            if ref in holders or holders[0] is None:
                continue
            message = f"{holders[0]} comes first and has what is wanted of listener {one.listener}"
            label = "accepted, but it gets nothing there"
            yield warning("DRG1309", message, Origin(ref, ("spec", "parentRefs")), label=label)


_Shown = tuple[Ref, str, str, tuple[str, str], Ref]
"""Parent, listener, server name, age, route: the least has it (TCPRoute, UDPRoute: "the oldest")."""


def _shown(_: Context, key: tuple[Ref, str], route: ir.StreamRoute) -> Iterator[tuple[_Shown, bool]]:
    for one in route.attachments:
        for name in one.hostnames:
            yield (one.parent, one.listener, name, route.age, key[0]), True
