"""This language's part of the graph, readable as a diagram.

    Secret, ConfigMap -> certificates -> flaws ----------+-> Gateway reports -> doors --+
    GatewayClass -> classes -----------------------------+      |                       |
    ListenerSet -> claims -> ListenerSet reports <--------------+ -> doors -------------+
    Service, Backend, ReferenceGrant, BackendTLSPolicy -> rules, targets                v
    HTTPRoute, GRPCRoute -> rules ----------------------------------------> routes  -> cluster uses
    TLSRoute, TCPRoute, UDPRoute -> targets ------------------------------> streams -> cluster uses
    cluster uses -> clusters;   cluster uses + EndpointSlices -> endpoints;   both -> secrets
    reports, rules, attachments -> statuses, diagnostics

Everything is keyed so that a change reaches only what depends on it: endpoints never touch routes,
certificates never touch routes, routes never touch Gateways but for the number of routes in their
status.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from dragoman.diagnostics import Diagnostic
from dragoman.graph.collection import Collection, Context, Graph
from dragoman.ir import model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import (
    attachment,
    backends,
    classes,
    clientcas,
    endpoints,
    gateways,
    grants,
    keypairs,
    listeners,
    listenersets,
    names,
    routes_grpc,
    routes_http,
    rules_gateway,
    secrets,
    status,
    streams,
    tlspolicies,
)
from dragoman.translators.gateway.models import meta

Findings = tuple[Diagnostic, ...]


Translate = Callable[[Context, backends.Sources, Ref, Any], routes_http.Rules]
_REQUESTS: Final[Mapping[str, Translate]] = {
    "HTTPRoute": routes_http.translate,
    "GRPCRoute": routes_grpc.translate,
}
"""Kinds of routes that look into requests."""


def build(
    graph: Graph,
    objects: base.Objects,
    *,
    controller: str,
    addresses: gateways.Addresses,
    usable: gateways.Usable,
) -> base.Outputs:
    """Adds the collections of Gateway API and of Dragoman's own kinds."""
    granted = grants.build(graph, objects[meta.GATEWAY_GROUP, "ReferenceGrant"])
    vault = secrets.build(graph, objects, _users(granted))
    parents = _Parents(graph, objects, granted, vault, controller, addresses, usable)
    policies = tlspolicies.build(graph, objects[meta.GATEWAY_GROUP, "BackendTLSPolicy"], vault)
    sources = backends.build(graph, objects, granted, vault, policies)
    routes = [
        _Requests(graph, objects[meta.GATEWAY_GROUP, kind], kind, translate, sources, parents, controller)
        for kind, translate in _REQUESTS.items()
    ]
    flows = [
        _Streams(graph, objects[meta.GATEWAY_GROUP, kind], kind, sources, parents, controller)
        for kind in streams.KINDS
    ]
    route_sets: Collection[Ref, ir.RouteSet] = graph.union("routes", *(one.routes for one in routes))
    stream_routes: Collection[tuple[Ref, str], ir.StreamRoute] = graph.union(
        "streams", *(one.routes for one in flows)
    )
    backend_side = _Backends(graph, objects, vault, parents, sources, route_sets, stream_routes, flows)
    policy_statuses = _policy_statuses(
        graph, objects, policies, route_sets, stream_routes, parents, controller
    )
    counted = _sum([one.counts for one in routes] + [one.counts for one in flows])

    def gateway_status(ctx: Context, ref: Ref, report: gateways.Report) -> base.Status | None:
        item = ctx.fetch(parents.gateway_objects, ref)
        if item is None or not report.doors.ours:
            return None
        sets = ctx.fetch(parents.attached_sets, ref) or 0
        return status.of_gateway(item, report, lambda name: counted(ctx, (ref, name)), sets)

    def set_status(ctx: Context, ref: Ref, report: listenersets.Report) -> base.Status | None:
        item = ctx.fetch(parents.set_objects, ref)
        if item is None or not report.conditions:
            return None
        return status.of_set(item, report, lambda name: counted(ctx, (ref, name)))

    def class_status(ctx: Context, ref: Ref, found: classes.Class) -> base.Status | None:
        item = ctx.fetch(objects[meta.GATEWAY_GROUP, "GatewayClass"], ref)
        return None if item is None or found.accepted is None else status.of_class(item, found.accepted)

    def backend_status(ctx: Context, ref: Ref, item: base.AnyObject) -> base.Status:
        return status.of_backend(item, ctx.fetch(sources.flawed, ref))

    def findings_of(name: str, collection: Collection[Ref, Any]) -> Collection[Ref, Findings]:
        return graph.map_one(f"{name} findings", collection, lambda _, __, found: found.findings or None)

    statuses = graph.union(
        "statuses",
        graph.map_one("GatewayClass status", parents.classes, class_status),
        graph.map_one("Gateway status", parents.reports, gateway_status),
        graph.map_one("ListenerSet status", parents.sets, set_status),
        *(one.statuses for one in routes),
        *(one.statuses for one in flows),
        policy_statuses,
        graph.map_one("Backend status", objects[meta.DRAGOMAN_GROUP, "Backend"], backend_status),
    )
    diagnostics = graph.union(
        "diagnostics",
        findings_of("GatewayClass", parents.classes),
        findings_of("Gateway", parents.reports),
        findings_of("ListenerSet", parents.sets),
        *(one.findings for one in routes),
        *(one.findings for one in flows),
        findings_of("BackendTLSPolicy", policies.standings),
        backend_side.findings,
        vault.findings,
    )
    return base.Outputs(
        gateways=parents.served,
        routes=route_sets,
        streams=stream_routes,
        clusters=backend_side.clusters,
        endpoints=backend_side.endpoints,
        secrets=backend_side.secrets,
        statuses=statuses,
        diagnostics=diagnostics,
    )


def _users(granted: grants.Grants) -> Iterator[secrets.User]:
    """The kinds that refer to certificates."""

    def of_listeners(ref: Ref, spec: Any) -> set[ir.SecretKey]:
        return {
            ir.SecretKey(secrets.target(ref.namespace, wanted))
            for listener in spec.listeners
            if listener.tls is not None
            for wanted in listener.tls.certificate_refs
        }

    def of_gateway(ref: Ref, spec: Any) -> set[ir.SecretKey]:
        own = gateways.client_certificate(ref, spec)
        return {*of_listeners(ref, spec), *clientcas.uses(ref, spec), *([own] if own is not None else [])}

    def clients(ctx: Context, key: ir.SecretKey, spec: Any) -> Iterator[ir.SecretKey]:
        for bundle, validation in clientcas.bundles(key.ref, spec.tls.frontend) if spec.tls else ():
            if bundle != key:
                continue
            for wanted in validation.ca_certificate_refs:
                part = clientcas.part_of(key.ref, wanted)
                if part is not None and grants.permitted(ctx, granted, key.ref, part.ref):
                    yield part

    def authorities(_: Context, key: ir.SecretKey, spec: Any) -> Iterator[ir.SecretKey]:
        return (part for part in tlspolicies.uses(key.ref, spec) if part != key)

    def nothing(_: Context, __: ir.SecretKey, ___: Any) -> Iterator[ir.SecretKey]:
        return iter(())

    group = meta.GATEWAY_GROUP
    yield secrets.User(group, "Gateway", of_gateway, clients, patient=True)
    yield secrets.User(group, "ListenerSet", of_listeners, nothing)
    yield secrets.User(group, "BackendTLSPolicy", tlspolicies.uses, authorities)
    yield secrets.User(
        meta.DRAGOMAN_GROUP, "Backend", secrets.needs, lambda _, key, spec: secrets.parts(key, spec)
    )


def _sum(
    counts: Iterable[Collection[tuple[Ref, str], int]],
) -> Callable[[Context, tuple[Ref, str]], int]:
    """Attached routes of a listener, of whatever kind."""
    every = tuple(counts)
    return lambda ctx, listener: sum(ctx.fetch(one, listener) or 0 for one in every)


class _Parents:
    """GatewayClass, Gateway, ListenerSet: what routes attach to."""

    def __init__(
        self,
        graph: Graph,
        objects: base.Objects,
        granted: grants.Grants,
        vault: secrets.Vault,
        controller: str,
        addresses: gateways.Addresses,
        usable: gateways.Usable,
    ) -> None:
        class_objects = objects[meta.GATEWAY_GROUP, "GatewayClass"]
        self.gateway_objects = objects[meta.GATEWAY_GROUP, "Gateway"]
        self.set_objects = objects[meta.GATEWAY_GROUP, "ListenerSet"]
        self.classes = graph.map_one(
            "classes", class_objects, lambda _, __, item: classes.judge(controller, item)
        )
        named = listeners.Sources(
            granted, vault, names.build(graph, objects[meta.CORE_GROUP, "Secret"], "Secret")
        )
        sources = gateways.Sources(
            self.classes, names.build(graph, class_objects, "GatewayClass"), named, addresses, usable
        )
        self.reports = graph.map_one(
            "Gateway reports",
            self.gateway_objects,
            lambda ctx, ref, item: gateways.judge(ctx, sources, ref, item),
        )
        hosts = graph.map_one("Gateway hosts", self.reports, lambda _, __, report: report.host)
        labels: Collection[Ref, tuple[tuple[str, str], ...]] = graph.map_one(
            "namespace labels", objects[meta.CORE_GROUP, "Namespace"], lambda _, __, item: item.meta.labels
        )
        gateway_names = names.build(graph, self.gateway_objects, "Gateway")
        self.sets = listenersets.build(
            graph, self.set_objects, listenersets.Sources(hosts, labels, gateway_names, named)
        )
        self.attached_sets: Collection[Ref, int] = graph.group_by(
            "attached ListenerSets",
            graph.map_one("accepted ListenerSets", self.sets, lambda _, __, report: report.accepted),
            lambda _, gateway: (gateway,),
            lambda _, __, members: len(members),
        )
        self.served: Collection[Ref, ir.Gateway] = graph.union(
            "gateways",
            graph.map_one("Gateways served", self.reports, lambda _, __, report: report.gateway),
            graph.map_one("ListenerSets served", self.sets, lambda _, __, report: report.served),
        )
        self.doors: Collection[Ref, attachment.Doors] = graph.union(
            "doors",
            graph.map_one("doors of Gateways", self.reports, lambda _, __, report: report.doors),
            graph.map_one("doors of ListenerSets", self.sets, lambda _, __, report: report.doors),
        )
        set_names = names.build(graph, self.set_objects, "ListenerSet")
        self.attachable = attachment.Sources(
            self.doors, labels, {"Gateway": gateway_names, "ListenerSet": set_names}
        )
        self.gateway_of: Collection[Ref, Ref] = graph.map_one(
            "Gateways of ListenerSets", self.sets, lambda _, __, report: report.accepted
        )


class _Requests:
    """A kind of routes that look into requests: rules and attachment apart, since they change for different
    reasons."""

    def __init__(
        self,
        graph: Graph,
        objects: Collection[Ref, base.AnyObject],
        kind: str,
        translate: Translate,
        sources: backends.Sources,
        parents: _Parents,
        controller: str,
    ) -> None:
        self.rules: Collection[Ref, routes_http.Rules] = graph.map_one(
            f"{kind} rules", objects, lambda ctx, ref, item: translate(ctx, sources, ref, item)
        )
        self.attached: Collection[Ref, attachment.Attached] = graph.map_one(
            f"{kind} attached",
            objects,
            lambda ctx, ref, item: attachment.attach(
                ctx, parents.attachable, ref, item.spec.parent_refs, item.spec.hostnames
            ),
        )
        self.routes: Collection[Ref, ir.RouteSet] = graph.map_one(f"{kind}s", self.rules, self._route_set)
        accepted = graph.map_one(f"{kind} accepted", self.rules, self._accepted)
        self.counts: Collection[tuple[Ref, str], int] = graph.group_by(
            f"{kind}s of listeners", accepted, lambda _, places: places, lambda _, __, members: len(members)
        )
        self.findings = graph.map_one(f"{kind} findings", self.rules, self._findings)

        def conditions(ctx: Context, ref: Ref, item: base.AnyObject) -> base.Status | None:
            rules, attached = ctx.fetch(self.rules, ref), ctx.fetch(self.attached, ref)
            if rules is None or attached is None:
                return None
            return status.of_route(
                item, controller, attached, lambda accepted: status.route_conditions(accepted, rules)
            )

        self.statuses = graph.map_one(f"{kind} status", objects, conditions)

    def _route_set(self, ctx: Context, ref: Ref, rules: routes_http.Rules) -> ir.RouteSet | None:
        attached = ctx.fetch(self.attached, ref)
        if attached is None or not attached.attachments:
            return None
        return ir.RouteSet(ref, attached.attachments, rules.routes)

    def _accepted(
        self, ctx: Context, ref: Ref, rules: routes_http.Rules
    ) -> tuple[tuple[Ref, str], ...] | None:
        """The listeners that count this route: those it is attached to with Accepted true."""
        attached = ctx.fetch(self.attached, ref)
        if attached is None or not rules.usable:
            return None
        return tuple((one.parent, one.listener) for one in attached.attachments)

    def _findings(self, ctx: Context, ref: Ref, rules: routes_http.Rules) -> Findings | None:
        attached = ctx.fetch(self.attached, ref)
        return (attached.findings if attached is not None else ()) + rules.findings or None


class _Streams:
    """A kind of routes that do not. How backends are spoken to depends on the listener, so a route may have
    several targets."""

    def __init__(
        self,
        graph: Graph,
        objects: Collection[Ref, base.AnyObject],
        kind: str,
        sources: backends.Sources,
        parents: _Parents,
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
        self.mixtures: Collection[ir.ClusterKey, tuple[tuple[ir.ClusterKey, int], ...]] = graph.map_many(
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
        self.counts: Collection[tuple[Ref, str], int] = graph.group_by(
            f"{kind}s of listeners", shown, lambda key, _: (key[:2],), _winners
        )
        self.findings = graph.map_one(f"{kind} findings", self.targets, self._findings)

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
        return (*(attached.findings if attached is not None else ()), *own) or None


_Shown = tuple[Ref, str, str, tuple[str, str], Ref]
"""Parent, listener, server name, age, route: sorts by who has it."""


def _shown(_: Context, key: tuple[Ref, str], route: ir.StreamRoute) -> Iterator[tuple[_Shown, bool]]:
    for one in route.attachments:
        for name in one.hostnames:
            yield (one.parent, one.listener, name, route.age, key[0]), True


def _winners(_: Context, __: tuple[Ref, str], found: Mapping[_Shown, bool]) -> int:
    """Routes that have a server name, or the port, to themselves: the oldest does (TCPRoute, UDPRoute)."""
    first: dict[str, _Shown] = {}
    for key in found:
        first[key[2]] = min(first.get(key[2], key), key)
    return len({key[4] for key in first.values()})


class _Backends:
    """What attached routes and served Gateways use: clusters, endpoints, secrets."""

    def __init__(
        self,
        graph: Graph,
        objects: base.Objects,
        vault: secrets.Vault,
        parents: _Parents,
        sources: backends.Sources,
        routes: Collection[Ref, ir.RouteSet],
        stream_routes: Collection[tuple[Ref, str], ir.StreamRoute],
        flows: Iterable[_Streams],
    ) -> None:
        mixtures: Collection[ir.ClusterKey, tuple[tuple[ir.ClusterKey, int], ...]] = graph.union(
            "mixtures", *(one.mixtures for one in flows)
        )
        uses: Collection[ir.ClusterKey, bool] = graph.union(
            "cluster uses",
            graph.group_by("clusters of routes", routes, lambda _, item: item.clusters(), lambda *_: True),
            graph.group_by(
                "clusters of streams", stream_routes, lambda _, item: item.clusters(), lambda *_: True
            ),
        )

        def cluster(ctx: Context, key: ir.ClusterKey, _: bool) -> ir.Cluster | None:
            if key.ref.kind == "UDPRoute":
                return streams.mixture(key) if ctx.fetch(mixtures, key) else None
            return backends.cluster(ctx, sources, key)

        self.clusters: Collection[ir.ClusterKey, ir.Cluster] = graph.map_one("clusters", uses, cluster)
        slice_objects = objects[meta.DISCOVERY_GROUP, "EndpointSlice"]
        slices = endpoints.group(graph, slice_objects)

        def endpoint_set(ctx: Context, key: ir.ClusterKey) -> ir.EndpointSet | None:
            if key.ref.kind == "Service":
                return endpoints.endpoint_set(ctx, sources.services, slices, key)
            made = backends.cluster(ctx, sources, key)
            if made is None:
                return None
            return ir.EndpointSet(key, tuple(e for e in made.endpoints if rules_gateway.is_ip(e.address)))

        def filled(ctx: Context, key: ir.ClusterKey, _: object) -> ir.EndpointSet | None:
            if key.ref.kind == "Service":
                return endpoints.endpoint_set(ctx, sources.services, slices, key)
            parts = ctx.fetch(mixtures, key)
            if parts is None:
                return None
            sets = {part: found for part, _ in parts if (found := endpoint_set(ctx, part)) is not None}
            return streams.blend(key, parts, sets)

        self.endpoints: Collection[ir.ClusterKey, ir.EndpointSet] = graph.group_by(
            "endpoints", uses, lambda key, _: (key.place,), filled
        )
        self.secrets = graph.map_one(
            "secrets",
            graph.union(
                "secret uses",
                graph.group_by("secrets of gateways", parents.served, _certificates, lambda *_: True),
                graph.group_by("secrets of clusters", self.clusters, _cluster_secrets, lambda *_: True),
            ),
            lambda ctx, key, _: _usable(ctx.fetch(vault.credentials, key)),
        )

        def undescribed(ctx: Context, key: ir.ClusterKey, found: ir.EndpointSet) -> bool | None:
            if found.endpoints or key.ref.kind != "Service":
                return None
            return None if ctx.fetch(slices, key.ref) else True

        def faulty(ctx: Context, ref: Ref, _: base.AnyObject) -> Findings | None:
            return backends.findings(ctx, sources, ref)

        self.findings: Collection[Ref, Findings] = graph.union(
            "backend findings",
            graph.group_by(
                "Service findings",
                graph.map_one("undescribed", self.endpoints, undescribed),
                lambda key, _: (key.ref,),
                lambda _, ref, __: (endpoints.undescribed(ref),),
            ),
            graph.map_one("EndpointSlice findings", slice_objects, endpoints.findings),
            graph.map_one("Backend findings", objects[meta.DRAGOMAN_GROUP, "Backend"], faulty),
        )


def _policy_statuses(
    graph: Graph,
    objects: base.Objects,
    policies: tlspolicies.Policies,
    routes: Collection[Ref, ir.RouteSet],
    stream_routes: Collection[tuple[Ref, str], ir.StreamRoute],
    parents: _Parents,
    controller: str,
) -> Collection[Ref, base.Status]:
    """BackendTLSPolicies' statuses: their ancestors are the Gateways whose routes reach what they target."""

    def reached(
        ctx: Context, key: object, item: ir.RouteSet | ir.StreamRoute
    ) -> Iterator[tuple[tuple[Ref, Ref, object], bool]]:
        for service in {cluster.ref for cluster in item.clusters()}:
            if ctx.fetch(policies.by_service, service) is None:
                continue
            for one in item.attachments:
                gateway = one.parent
                if gateway.kind == "ListenerSet":
                    gateway = ctx.fetch(parents.gateway_of, gateway) or gateway
                yield (service, gateway, key), True

    users = graph.group_by(
        "users of policies",
        graph.union(
            "routes to policies",
            graph.map_many("requests to policies", routes, reached),
            graph.map_many("streams to policies", stream_routes, reached),
        ),
        lambda key, _: (key[0],),
        lambda _, __, found: frozenset(key[1] for key in found),
    )
    policy_objects = objects[meta.GATEWAY_GROUP, "BackendTLSPolicy"]

    def ancestors(ctx: Context, ref: Ref, item: base.AnyObject) -> base.Status | None:
        verdict = ctx.fetch(policies.standings, ref)
        if verdict is None:
            return None
        found: set[Ref] = set()
        for target in tlspolicies.targets(ref, item.spec):
            if target is not None and (more := ctx.fetch(users, target.service)) is not None:
                found |= more
        return status.of_policy(item, controller, sorted(found), verdict)

    return graph.map_one("BackendTLSPolicy status", policy_objects, ancestors)


def _certificates(_: Ref, gateway: ir.Gateway) -> Iterable[ir.SecretKey]:
    found = set() if gateway.certificate is None else {gateway.certificate}
    for one in gateway.listeners:
        if one.tls is not None:
            found.update(one.tls.certificates)
            found.update([one.tls.clients.ca] if one.tls.clients is not None else [])
    return found


def _cluster_secrets(_: ir.ClusterKey, cluster: ir.Cluster) -> Iterator[ir.SecretKey]:
    if cluster.tls is not None:
        yield from {key for key in (cluster.tls.ca, cluster.tls.certificate) if key is not None}


def _usable(found: Any) -> ir.Secret | None:
    return None if isinstance(found, keypairs.Flaw) else found
