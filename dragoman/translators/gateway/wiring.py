"""This language's part of the graph, readable as a diagram.

    Secret, ConfigMap -> certificates -> flaws ----------+-> Gateway reports -> doors --+
    GatewayClass -> classes -----------------------------+                              v
    Service, Backend, ReferenceGrant -> HTTPRoute rules --------------------------> routes -> cluster uses
    cluster uses -> clusters;   cluster uses + EndpointSlices -> endpoints;   both -> secrets
    reports, rules, attachments -> statuses, diagnostics

Everything is keyed so that a change reaches only what depends on it: endpoints never touch routes,
certificates never touch routes, routes never touch Gateways but for the number of routes in their
status.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from dragoman.diagnostics import Diagnostic
from dragoman.graph.collection import Collection, Context, Graph
from dragoman.ir import model as ir
from dragoman.refs import Ref
from dragoman.translators import base
from dragoman.translators.gateway import (
    attachment,
    backends,
    classes,
    endpoints,
    gateways,
    grants,
    keypairs,
    names,
    routes_http,
    secrets,
    status,
)
from dragoman.translators.gateway.models import meta

Findings = tuple[Diagnostic, ...]


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
    vault = secrets.build(graph, objects)
    gateway_side = _Gateways(graph, objects, granted, vault, controller, addresses, usable)
    route_side = _Routes(graph, objects, granted, vault, gateway_side)
    backend_side = _Backends(graph, objects, vault, gateway_side, route_side)

    def counted(ctx: Context, ref: Ref, report: gateways.Report) -> base.Status | None:
        item = ctx.fetch(gateway_side.objects, ref)
        if item is None or not report.doors.ours:
            return None
        return status.of_gateway(item, report, lambda name: ctx.fetch(route_side.counts, (ref, name)) or 0)

    def class_status(ctx: Context, ref: Ref, found: classes.Class) -> base.Status | None:
        item = ctx.fetch(objects[meta.GATEWAY_GROUP, "GatewayClass"], ref)
        return None if item is None or found.accepted is None else status.of_class(item, found.accepted)

    def route_status(ctx: Context, ref: Ref, item: base.AnyObject) -> base.Status | None:
        rules = ctx.fetch(route_side.rules, ref)
        attached = ctx.fetch(route_side.attached, ref)
        if rules is None or attached is None:
            return None
        return status.of_route(item, controller, attached, rules)

    def backend_status(ctx: Context, ref: Ref, item: base.AnyObject) -> base.Status:
        return status.of_backend(item, ctx.fetch(route_side.sources.flawed, ref))

    statuses = graph.union(
        "statuses",
        graph.map_one("GatewayClass status", gateway_side.classes, class_status),
        graph.map_one("Gateway status", gateway_side.reports, counted),
        graph.map_one("HTTPRoute status", route_side.objects, route_status),
        graph.map_one("Backend status", objects[meta.DRAGOMAN_GROUP, "Backend"], backend_status),
    )
    diagnostics = graph.union(
        "diagnostics",
        graph.map_one(
            "GatewayClass findings", gateway_side.classes, lambda _, __, found: found.findings or None
        ),
        graph.map_one("Gateway findings", gateway_side.reports, lambda _, __, found: found.findings or None),
        route_side.findings,
        backend_side.findings,
        vault.findings,
    )
    return base.Outputs(
        gateways=gateway_side.gateways,
        routes=route_side.routes,
        clusters=backend_side.clusters,
        endpoints=backend_side.endpoints,
        secrets=backend_side.secrets,
        statuses=statuses,
        diagnostics=diagnostics,
    )


class _Gateways:
    """GatewayClass and Gateway."""

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
        self.objects = objects[meta.GATEWAY_GROUP, "Gateway"]
        self.classes = graph.map_one(
            "classes", class_objects, lambda _, __, item: classes.judge(controller, item)
        )
        sources = gateways.Sources(
            self.classes,
            names.build(graph, class_objects, "GatewayClass"),
            granted,
            vault,
            names.build(graph, objects[meta.CORE_GROUP, "Secret"], "Secret"),
            addresses,
            usable,
        )
        self.reports = graph.map_one(
            "Gateway reports", self.objects, lambda ctx, ref, item: gateways.judge(ctx, sources, ref, item)
        )
        self.gateways = graph.map_one("gateways", self.reports, lambda _, __, report: report.gateway)
        self.doors = graph.map_one("doors", self.reports, lambda _, __, report: report.doors)
        self.names = names.build(graph, self.objects, "Gateway")


class _Routes:
    """HTTPRoute: rules and attachment apart, since they change for different reasons."""

    def __init__(
        self,
        graph: Graph,
        objects: base.Objects,
        granted: grants.Grants,
        vault: secrets.Vault,
        gateway_side: _Gateways,
    ) -> None:
        self.objects = objects[meta.GATEWAY_GROUP, "HTTPRoute"]
        self.sources = sources = backends.build(graph, objects, granted, vault)
        labels = graph.map_one(
            "namespace labels", objects[meta.CORE_GROUP, "Namespace"], lambda _, __, item: item.meta.labels
        )
        parents = attachment.Sources(gateway_side.doors, labels, gateway_side.names)
        self.rules = graph.map_one(
            "HTTPRoute rules",
            self.objects,
            lambda ctx, ref, item: routes_http.translate(ctx, sources, ref, item),
        )
        self.attached = graph.map_one(
            "attached", self.objects, lambda ctx, ref, item: attachment.attach(ctx, parents, ref, item.spec)
        )
        self.routes: Collection[Ref, ir.RouteSet] = graph.map_one("routes", self.rules, self._route_set)
        accepted = graph.map_one("accepted", self.rules, self._accepted)
        self.counts = graph.group_by(
            "attached routes", accepted, lambda _, places: places, lambda _, __, members: len(members)
        )
        self.findings = graph.map_one("HTTPRoute findings", self.rules, self._findings)

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
        return tuple((one.gateway, one.listener) for one in attached.attachments)

    def _findings(self, ctx: Context, ref: Ref, rules: routes_http.Rules) -> Findings | None:
        attached = ctx.fetch(self.attached, ref)
        return (attached.findings if attached is not None else ()) + rules.findings or None


class _Backends:
    """What attached routes and served Gateways use: clusters, endpoints, secrets."""

    def __init__(
        self,
        graph: Graph,
        objects: base.Objects,
        vault: secrets.Vault,
        gateway_side: _Gateways,
        route_side: _Routes,
    ) -> None:
        sources = route_side.sources
        uses = graph.group_by(
            "cluster uses", route_side.routes, lambda _, routes: routes.clusters(), lambda *_: True
        )
        self.clusters: Collection[ir.ClusterKey, ir.Cluster] = graph.map_one(
            "clusters", uses, lambda ctx, key, _: backends.cluster(ctx, sources, key)
        )
        slice_objects = objects[meta.DISCOVERY_GROUP, "EndpointSlice"]
        slices = endpoints.group(graph, slice_objects)
        self.endpoints: Collection[ir.ClusterKey, ir.EndpointSet] = graph.map_one(
            "endpoints", uses, lambda ctx, key, _: endpoints.endpoint_set(ctx, sources.services, slices, key)
        )
        self.secrets = graph.map_one(
            "secrets",
            graph.union(
                "secret uses",
                graph.group_by("secrets of gateways", gateway_side.gateways, _certificates, lambda *_: True),
                graph.group_by("secrets of clusters", self.clusters, _cluster_secrets, lambda *_: True),
            ),
            lambda ctx, key, _: _usable(ctx.fetch(vault.credentials, key)),
        )

        def undescribed(ctx: Context, key: ir.ClusterKey, found: ir.EndpointSet) -> bool | None:
            if found.endpoints:
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


def _certificates(_: Ref, gateway: ir.Gateway) -> Iterable[ir.SecretKey]:
    return {key for one in gateway.listeners if one.tls is not None for key in one.tls.certificates}


def _cluster_secrets(_: ir.ClusterKey, cluster: ir.Cluster) -> Iterator[ir.SecretKey]:
    if cluster.tls is not None:
        yield from {key for key in (cluster.tls.ca, cluster.tls.certificate) if key is not None}


def _usable(found: Any) -> ir.Secret | None:
    return None if isinstance(found, keypairs.Flaw) else found
