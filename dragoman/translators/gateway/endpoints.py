"""Endpoints: EndpointSlices of a Service -> the EndpointSet of each of its ports that some route uses.

The short way: a slice that changes reaches EDS through here alone; routes and clusters are not looked
at again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dragoman.diagnostics import Diagnostic, Severity, error
from dragoman.graph.collection import Collection, Context, Graph
from dragoman.ir import model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import backends, rules_gateway
from dragoman.translators.gateway.models import endpointslice as model, meta, service

Slices = Collection[Ref, tuple[model.EndpointSlice, ...]]
"""Service -> its slices, by name."""


def group(graph: Graph, objects: Collection[Ref, base.AnyObject]) -> Slices:
    """The slices of each Service."""
    return graph.group_by("slices", objects, _service_of, _reduce)


def endpoint_set(
    ctx: Context, services: Collection[Ref, backends.Service], slices: Slices, key: ir.ClusterKey
) -> ir.EndpointSet | None:
    """The endpoints of a Service's port; empty while no slice has any. None for what is no Service."""
    known = ctx.fetch(services, key.ref)
    protocol = backends.protocol_of(key)
    port = backends.port_of(known.spec, key.port, protocol) if known is not None else None
    if known is None or port is None:
        return None
    found: dict[tuple[str, int], ir.Endpoint] = {}
    for item in _of_family(ctx.fetch(slices, key.ref) or (), known.spec):
        number = _number(item.ports, port)
        if number is None:
            continue
        for endpoint in item.endpoints:
            health = _health(endpoint.conditions)
            if health is None:
                continue
            for address in filter(rules_gateway.is_ip, endpoint.addresses):
                place = (address, number)
                # Listed twice (a pod that moves between slices): healthy wins.
                if place not in found or health is ir.Health.HEALTHY:
                    found[place] = ir.Endpoint(address, number, endpoint.zone, health=health)
    return ir.EndpointSet(key, tuple(found[place] for place in sorted(found)))


def undescribed(ref: Ref) -> Diagnostic:
    """A Service that routes use, and no EndpointSlice says where it runs."""
    return Diagnostic(
        "DRG1405",
        f"no EndpointSlice says where {ref} runs",
        ref,
        (),
        Severity.WARNING,
        label="requests for it get a 503",
        help=f"write an EndpointSlice with the label {model.SERVICE_LABEL}: {ref.name}, or use a Backend",
    )


def findings(_: Context, ref: Ref, item: base.Object[model.EndpointSlice]) -> tuple[Diagnostic, ...] | None:
    """What is wrong with a slice although each of its fields is well formed."""
    found: list[Diagnostic] = []
    if not item.meta.label(model.SERVICE_LABEL):
        where = Origin(ref, ("metadata", "labels"))
        label = f"label {model.SERVICE_LABEL} goes here"
        found.append(error("DRG1403", "the EndpointSlice names no Service", where, label=label))
    if item.spec.address_type == "FQDN":
        message = "EndpointSlices of host names are not read"
        hint = "a Backend takes host names"
        found.append(error("DRG1404", message, Origin(ref, ("addressType",)), help=hint))
        return tuple(found)
    for at, endpoint in enumerate(item.spec.endpoints):
        for index, address in enumerate(endpoint.addresses):
            if rules_gateway.family(address) != item.spec.address_type:
                where = Origin(ref, ("endpoints", at, "addresses", index))
                label = f"expected an {item.spec.address_type} address"
                found.append(error("DRG1404", f"`{address}` is left out", where, label=label))
    return tuple(found) or None


def _service_of(ref: Ref, item: base.AnyObject) -> Iterable[Ref]:
    name = item.meta.label(model.SERVICE_LABEL)
    return (Ref(meta.CORE_GROUP, "Service", ref.namespace, name),) if name else ()


def _reduce(_: Context, __: Ref, members: Mapping[Ref, Any]) -> tuple[model.EndpointSlice, ...]:
    return tuple(members[ref].spec for ref in sorted(members))


def _of_family(
    found: tuple[model.EndpointSlice, ...], spec: service.ServiceSpec
) -> tuple[model.EndpointSlice, ...]:
    """A dual-stack Service has each pod twice; its first family counts."""
    families = {item.address_type for item in found}
    if not {"IPv4", "IPv6"} <= families:
        return found
    wanted = spec.ip_families[0] if spec.ip_families else "IPv4"
    return tuple(item for item in found if item.address_type == wanted)


def _number(ports: tuple[model.EndpointPort, ...], wanted: service.ServicePort) -> int | None:
    """The port that a slice has for a Service's port: of the same name, as Kubernetes pairs them.

    Slices written by hand often leave the name out; then the number must be the target port.
    """
    named = next((p.port for p in ports if p.name == wanted.name and p.protocol == wanted.protocol), None)
    if named is not None:
        return named
    target = wanted.port if wanted.target_port is None else wanted.target_port
    return next((p.port for p in ports if not p.name and p.port == target), None)


def _health(given: model.Conditions) -> ir.Health | None:
    """None: leave it out."""
    ready = given.ready is not False
    if given.terminating:
        serving = ready if given.serving is None else given.serving
        return ir.Health.DRAINING if serving else None
    return ir.Health.HEALTHY if ready else None
