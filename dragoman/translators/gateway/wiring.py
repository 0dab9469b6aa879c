"""This language's part of the graph, readable as a diagram.

    Secret, ConfigMap -> certificates -> flaws ----------+-> Gateway reports -> doors --+
    GatewayClass -> classes -----------------------------+      |                       |
    ListenerSet -> claims -> ListenerSet reports <--------------+ -> doors -------------+
    TrafficPolicy, HTTPPolicy, ClientPolicy -> policies at targets, stacks of listeners |
    Service, Backend, ReferenceGrant, BackendTLSPolicy -> rules, targets                v
    Rollout + its route -> plans, and with what the controller fills in (rollout progress) -> shares -> rules
    HTTPRoute, GRPCRoute -> rules ----------------------------------------> routes  -> cluster uses
    TLSRoute, TCPRoute, UDPRoute -> targets ------------------------------> streams -> cluster uses
    cluster uses -> clusters;   cluster uses + EndpointSlices -> endpoints;   both -> secrets
    reports, rules, attachments -> statuses, diagnostics

Everything is keyed so that a change reaches only what depends on it: endpoints never touch routes,
certificates never touch routes, routes never touch Gateways but for the number of routes in their
status.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from dragoman.graph.collection import Collection, Context, Graph
from dragoman.ir import model as ir
from dragoman.refs import Ref
from dragoman.translators import base
from dragoman.translators.gateway import (
    backends,
    classes,
    gateways,
    grants,
    listenersets,
    routes_grpc,
    routes_http,
    secrets,
    status,
    streams,
    tlspolicies,
    wiring_backends,
    wiring_parents,
    wiring_policies,
    wiring_rollouts,
    wiring_routes,
)
from dragoman.translators.gateway.models import meta
from dragoman.translators.gateway.policies import (
    attach,
    auth_clients,
    auth_oidc_secrets,
    auth_sources,
    effects,
)
from dragoman.translators.gateway.wiring_routes import Findings

_REQUESTS: Final[Mapping[str, wiring_routes.Translate]] = {
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
    vault = secrets.build(graph, objects, wiring_parents.users(granted))
    attached = attach.build(graph, objects)
    parents = wiring_parents.Parents(graph, objects, granted, vault, controller, addresses, usable, attached)
    policies = tlspolicies.build(
        graph,
        objects[meta.GATEWAY_GROUP, "BackendTLSPolicy"],
        objects[meta.CORE_GROUP, "Service"],
        vault,
    )
    sources = backends.build(graph, objects, granted, vault, policies, attached)
    auth = auth_sources.Sources(graph, objects)
    clients = auth_clients.Clients(graph, objects)
    requests = {kind: objects[meta.GATEWAY_GROUP, kind] for kind in _REQUESTS}
    standing = wiring_routes.attachments(graph, requests["HTTPRoute"], requests["GRPCRoute"], parents)
    rolling = wiring_rollouts.Rollouts(graph, objects[meta.DRAGOMAN_GROUP, "Rollout"], requests, sources)
    routes = [
        wiring_routes.Requests(
            graph, requests[kind], kind, translate, sources, found, parents.stacks, auth, controller
        )
        for (kind, translate), found in zip(_REQUESTS.items(), standing, strict=True)
    ]
    flows = [
        wiring_routes.Streams(graph, objects[meta.GATEWAY_GROUP, kind], kind, sources, parents, controller)
        for kind in streams.KINDS
    ]
    route_sets: Collection[Ref, ir.RouteSet] = graph.union("routes", *(one.routes for one in routes))
    stream_routes: Collection[tuple[Ref, str], ir.StreamRoute] = graph.union(
        "streams", *(one.routes for one in flows)
    )
    logins = auth_oidc_secrets.secrets(graph, objects)
    backend_side = wiring_backends.Backends(
        graph, objects, vault, parents, sources, route_sets, stream_routes, flows, logins
    )
    barred: Collection[Ref, frozenset[Ref]] = graph.union(
        "barred", *(one.barred for one in routes), *(one.barred for one in flows)
    )
    ancestors = wiring_policies.Ancestors(
        graph, policies, attached, route_sets, stream_routes, barred, parents
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
        wiring_policies.tls_statuses(graph, objects, policies, ancestors, controller),
        wiring_policies.statuses(graph, objects, sources, auth.keys, ancestors, parents.trust, controller),
        graph.map_one("Backend status", objects[meta.DRAGOMAN_GROUP, "Backend"], backend_status),
        rolling.statuses,
        clients.statuses,
    )
    diagnostics = graph.union(
        "diagnostics",
        findings_of("GatewayClass", parents.classes),
        findings_of("Gateway", parents.reports),
        findings_of("ListenerSet", parents.sets),
        *(one.findings for one in routes),
        *(one.findings for one in flows),
        findings_of("BackendTLSPolicy", policies.standings),
        wiring_policies.findings(graph, objects, sources, auth.keys, backend_side.lost, parents),
        backend_side.findings,
        vault.findings,
        rolling.findings,
        clients.findings,
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
        unmatched=effects.unmatched(graph, parents.stacks),
        contents=clients.contents,
        lookups=auth.lookups.asked,
        rollouts=base.Rollouts(rolling.plans, sources.rollouts.progress),
        fetches=base.Fetches(auth.wanted, auth.found),
    )


def _sum(
    counts: Iterable[Collection[tuple[Ref, str], int]],
) -> Callable[[Context, tuple[Ref, str]], int]:
    """Attached routes of a listener, of whatever kind."""
    every = tuple(counts)
    return lambda ctx, listener: sum(ctx.fetch(one, listener) or 0 for one in every)
