"""GatewayClass, Gateway, ListenerSet: the collections of what routes attach to, and of who refers to which
certificates. A part of `wiring`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dragoman.diagnostics import Diagnostic
from dragoman.graph.collection import Collection, Context, Graph
from dragoman.ir import model as ir
from dragoman.refs import Ref
from dragoman.translators import base
from dragoman.translators.gateway import (
    attachment,
    classes,
    clientcas,
    clienttrust,
    gateways,
    grants,
    listeners,
    listenersets,
    names,
    parameters,
    secrets,
    tlspolicies,
)
from dragoman.translators.gateway.models import meta
from dragoman.translators.gateway.policies import attach, clients, stacks, traffic_tls


def users(granted: grants.Grants) -> Iterator[secrets.User]:
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
                part = secrets.trusted(wanted, wanted.namespace or key.ref.namespace)
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
    yield clienttrust.user(granted)
    yield secrets.User(
        meta.DRAGOMAN_GROUP, "Backend", secrets.needs, lambda _, key, spec: secrets.parts(key, spec)
    )
    yield secrets.User(meta.DRAGOMAN_GROUP, "TrafficPolicy", traffic_tls.needs, traffic_tls.parts)


class Parents:
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
        policies: attach.Policies,
    ) -> None:
        class_objects = objects[meta.GATEWAY_GROUP, "GatewayClass"]
        self.gateway_objects = objects[meta.GATEWAY_GROUP, "Gateway"]
        self.set_objects = objects[meta.GATEWAY_GROUP, "ListenerSet"]
        configmaps = objects[meta.CORE_GROUP, "ConfigMap"]
        tuned = parameters.Sources(configmaps, names.build(graph, configmaps, "ConfigMap"))
        self.classes = graph.map_one(
            "classes", class_objects, lambda ctx, _, item: classes.judge(ctx, tuned, controller, item)
        )
        named = listeners.Sources(
            granted, vault, names.build(graph, objects[meta.CORE_GROUP, "Secret"], "Secret")
        )
        sources = gateways.Sources(
            self.classes, tuned, names.build(graph, class_objects, "GatewayClass"), named, addresses, usable
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
        self.stacks = stacks.of_listeners(graph, self.doors, self.gateway_of, policies)
        self.trust = clienttrust.build(
            graph, objects[meta.DRAGOMAN_GROUP, "ClientPolicy"], granted, vault.flaws
        )
        served: Collection[Ref, ir.Gateway] = graph.union(
            "Gateways and ListenerSets served",
            graph.map_one("Gateways served", self.reports, lambda _, __, report: report.gateway),
            graph.map_one("ListenerSets served", self.sets, lambda _, __, report: report.served),
        )
        treated = graph.map_one(
            "Gateways and their clients",
            served,
            lambda ctx, _, gateway: clients.treat(ctx, self.stacks, self.trust, gateway),
        )
        self.served: Collection[Ref, ir.Gateway] = graph.map_one(
            "gateways", treated, lambda _, __, one: one.gateway
        )
        self.client_findings: Collection[Ref, tuple[Diagnostic, ...]] = graph.group_by(
            "ClientPolicy findings",
            treated,
            lambda _, one: {finding.ref for finding in one.findings if finding.ref is not None},
            lambda _, ref, found: clients.by_policy(ref, found.values()),
        )
