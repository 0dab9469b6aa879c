"""Backends: from a reference to a cluster's key, and from the key to the cluster.

One cluster per Service port or Backend and manner of speaking to it (`ir.Transport`), whichever routes use
it. A reference that cannot be followed says why in the specification's words (`reason`) and in ours (a
diagnostic); its share of the traffic is answered with 500, or its connections closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from dragoman.diagnostics import Diagnostic, error
from dragoman.graph.collection import Collection, Context, Graph
from dragoman.ir import model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import grants, hosts, names, rollouts, secrets, tlspolicies
from dragoman.translators.gateway.models import backend, meta, service
from dragoman.translators.gateway.policies import attach, merge, stacks, traffic_backends, traffic_tls

_CLEAR: Final = {
    "": ir.AppProtocol.HTTP1,
    "http": ir.AppProtocol.HTTP1,
    "kubernetes.io/ws": ir.AppProtocol.HTTP1,
    "kubernetes.io/h2c": ir.AppProtocol.HTTP2,
    "http2": ir.AppProtocol.HTTP2,
    "h2c": ir.AppProtocol.HTTP2,
    "grpc": ir.AppProtocol.HTTP2,
}
_NOBODY: Final[frozenset[Ref]] = frozenset()
_UNPROTECTED: Final[Mapping[str, tlspolicies.Effect]] = MappingProxyType({})
_TLS: Final = {"https": ir.AppProtocol.AUTO, "kubernetes.io/wss": ir.AppProtocol.HTTP1}
_SECURED: Final = (ir.Transport.APPLICATION, ir.Transport.GRPC, ir.Transport.BYTES)
"""Where Envoy adds TLS of its own, if somebody wants it."""
_SPOKEN: Final = {
    None: ir.AppProtocol.HTTP1,
    "HTTP1": ir.AppProtocol.HTTP1,
    "HTTP2": ir.AppProtocol.HTTP2,
    "Auto": ir.AppProtocol.AUTO,
}


@dataclass(frozen=True, slots=True)
class Service:
    """What references see of a Service. `keys`: the clusters of its ports that requests can be forwarded to,
    each port once; `policies`: port's name, or "" -> what its BackendTLSPolicy does."""

    spec: service.ServiceSpec
    keys: tuple[ir.ClusterKey, ...] = field(compare=False)
    policies: Mapping[str, tlspolicies.Effect] = field(default_factory=lambda: _UNPROTECTED)

    def policy(self, port: service.ServicePort) -> tlspolicies.Effect | None:
        """The policy in force for a port: its own, else that of the whole Service."""
        if not self.policies:
            return None
        return self.policies.get(port.name) if port.name in self.policies else self.policies.get("")


@dataclass(frozen=True, slots=True)
class Sources:
    """What references are looked up in. `flawed`: Backends whose certificates cannot be used, and why;
    `unsafe`: TrafficPolicies, the same. `rollouts`: who sets the weights of rules."""

    services: Collection[Ref, Service]
    backends: Collection[Ref, backend.Backend]
    flawed: Collection[Ref, str]
    grants: grants.Grants
    service_names: names.Names
    backend_names: names.Names
    attached: attach.Policies
    unsafe: traffic_tls.Flaws
    rollouts: rollouts.Choices


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A reference that leads nowhere: the reason of the condition `ResolvedRefs`, and the finding. `barred`:
    the Service that a policy keeps it from; the policy's status names those that would reach it."""

    reason: str
    finding: Diagnostic
    barred: Ref | None = None


def build(
    graph: Graph,
    objects: base.Objects,
    granted: grants.Grants,
    vault: secrets.Vault,
    policies: tlspolicies.Policies,
    attached: attach.Policies,
) -> Sources:
    """The collections that references are looked up in."""

    def seen(ctx: Context, ref: Ref, item: base.Object[service.Service]) -> Service:
        return _seen(ref, item.spec.spec, ctx.fetch(policies.by_service, ref) or _UNPROTECTED)

    service_objects = objects[meta.CORE_GROUP, "Service"]
    backend_objects = objects[meta.DRAGOMAN_GROUP, "Backend"]
    services = graph.map_one("services", service_objects, seen)
    specs = graph.map_one("backends", backend_objects, lambda _, __, item: item.spec)

    def flawed(ctx: Context, ref: Ref, spec: backend.Backend) -> str | None:
        for key in secrets.needs(ref, spec):
            flaw = ctx.fetch(vault.flaws, key)
            if flaw is not None:
                return flaw.message if flaw.code == "DRG2007" else f"{key.ref}: {flaw.message}"
        return None

    return Sources(
        services,
        specs,
        graph.map_one("flawed backends", specs, flawed),
        granted,
        names.build(graph, service_objects, "Service"),
        names.build(graph, backend_objects, "Backend"),
        attached,
        traffic_tls.flaws(graph, objects, vault),
        rollouts.build(graph, objects[meta.DRAGOMAN_GROUP, "Rollout"]),
    )


def resolve(
    ctx: Context,
    sources: Sources,
    source: Ref,
    wanted: meta.BackendObjectReference,
    origin: Origin,
    transport: ir.Transport = ir.Transport.APPLICATION,
) -> ir.ClusterKey | Unresolved:
    """The cluster that a reference in `source` means. `Unresolved` is the reason of the condition
    `ResolvedRefs`; one that is barred by a policy has the reason "": the reference itself is fine."""
    target = Ref(wanted.group, wanted.kind, wanted.namespace or source.namespace, wanted.name)
    is_service = not wanted.group and wanted.kind == "Service"
    if not is_service and (wanted.group, wanted.kind) != (meta.DRAGOMAN_GROUP, "Backend"):
        kind = f"{wanted.kind} of {wanted.group}" if wanted.group else wanted.kind
        return Unresolved(
            "InvalidKind",
            error(
                "DRG2005",
                f"a route cannot forward to kind {kind}",
                origin.at("kind"),
                label=f"expected Service, or Backend of {meta.DRAGOMAN_GROUP}",
                help=f"add `group: {meta.DRAGOMAN_GROUP}`" if wanted.kind == "Backend" else "",
            ),
        )
    crosses = target.namespace != source.namespace
    if crosses and not grants.permitted(ctx, sources.grants, source, target):
        message = f"{source.kind} {source.id} may not refer to {target}"
        where = origin.at("namespace")
        return Unresolved(
            "RefNotPermitted", error("DRG2006", message, where, help=grants.hint(source, target))
        )
    if is_service:
        found = ctx.fetch(sources.services, target)
        if found is None:
            return _missing(ctx, sources.service_names, target, origin)
        if found.keys:
            ctx.alike(target := found.keys[0].ref)
        return _service(target, found, wanted.port or 0, origin, transport)
    made = ctx.fetch(sources.backends, target)
    if made is None:
        return _missing(ctx, sources.backend_names, target, origin)
    flaw = ctx.fetch(sources.flawed, target)
    if flaw is not None:
        message = f"{target} cannot be reached safely: {flaw}"
        return Unresolved("InvalidBackend", error("DRG2007", message, origin.at("name")))
    says_itself = transport is ir.Transport.GRPC and made.protocol is not None
    return ir.ClusterKey(target, 0, "" if says_itself else transport.value)


def _seen(ref: Ref, spec: service.ServiceSpec, policies: Mapping[str, tlspolicies.Effect]) -> Service:
    if spec.type == "ExternalName":
        return Service(spec, (), policies)
    numbers = dict.fromkeys([one.port for one in spec.ports])
    keys = tuple([ir.ClusterKey(ref, number) for number in numbers if _spoken(spec, number)])
    return Service(spec, keys, policies)


def _spoken(spec: service.ServiceSpec, number: int) -> bool:
    """Whether requests can be forwarded to this port."""
    port = port_of(spec, number)
    return port is not None and port.protocol == "TCP" and _application(port) is not None


def _service(
    target: Ref, found: Service, number: int, origin: Origin, transport: ir.Transport
) -> ir.ClusterKey | Unresolved:
    if not found.policies and transport is ir.Transport.APPLICATION:
        for key in found.keys:
            if key.port == number:
                return key
    datagrams = transport is ir.Transport.DATAGRAMS
    port = port_of(found.spec, number, "UDP" if datagrams else "TCP")
    stream = transport not in (ir.Transport.APPLICATION, ir.Transport.GRPC)
    spoken = "UDP" if datagrams else "TCP"
    if (
        found.spec.type == "ExternalName"
        or port is None
        or port.protocol != spoken
        or (not stream and _application(port) is None)
    ):
        return _refusal(target, found.spec, port, number, origin, spoken if stream else "HTTP")
    policy = found.policy(port)
    if policy is not None and policy.barred and transport in _SECURED:
        message = f"{target} cannot be reached safely: {policy.barred}"
        return Unresolved("", error("DRG2007", message, origin.at("name")), target)
    if transport is ir.Transport.GRPC and port.app_protocol:
        return ir.ClusterKey(target, number)  # it says itself what it speaks
    return ir.ClusterKey(target, number, transport.value)


def _refusal(
    target: Ref,
    spec: service.ServiceSpec,
    found: service.ServicePort | None,
    port: int,
    origin: Origin,
    wanted: str,
) -> Unresolved:
    """Why a Service that is there cannot be forwarded to."""
    if spec.type == "ExternalName":
        return Unresolved(
            "InvalidKind",
            error(
                "DRG1401",
                f"{target} is of type ExternalName",
                origin.at("name"),
                help=f"use a Backend with endpoint {{hostname: {spec.external_name or '...'}, port: {port}}}",
            ),
        )
    if found is None:
        exposed = ", ".join(f"{p.port} ({p.name})" if p.name else str(p.port) for p in spec.ports)
        only = f"; did you mean `port: {spec.ports[0].port}`?" if len(spec.ports) == 1 else ""
        return Unresolved(
            "BackendNotFound",
            error(
                "DRG2004",
                f"{target} has no port {port}",
                origin.at("port"),
                help=f"{target} exposes {exposed}{only}" if exposed else f"{target} exposes no port at all",
            ),
        )
    spoken = found.app_protocol if wanted == "HTTP" and found.protocol == "TCP" else found.protocol
    message = f"port {port} of {target} speaks {spoken}, which a route for {wanted} cannot"
    hint = (
        f"appProtocol may be {', '.join(sorted(filter(None, (*_CLEAR, *_TLS))))}" if wanted == "HTTP" else ""
    )
    return Unresolved("UnsupportedProtocol", error("DRG1402", message, origin.at("port"), help=hint))


def _missing(ctx: Context, known: names.Names, target: Ref, origin: Origin) -> Unresolved:
    hint = names.hint(ctx, known, target)
    return Unresolved(
        "BackendNotFound", error("DRG2003", f"{target} is not there", origin.at("name"), help=hint)
    )


def port_of(spec: service.ServiceSpec, port: int, protocol: str = "TCP") -> service.ServicePort | None:
    """The Service's port of that number; the one of `protocol` where several have it."""
    found = None
    for one in spec.ports:
        if one.port == port:
            if one.protocol == protocol:
                return one
            found = found or one
    return found


@dataclass(frozen=True, slots=True)
class Made:
    """A cluster as the policies of its users and its own want it, and what of them has no effect on it."""

    cluster: ir.Cluster
    findings: tuple[Diagnostic, ...] = ()


def cluster(ctx: Context, sources: Sources, key: ir.ClusterKey) -> Made | None:
    """The cluster of a key that `resolve` gave; None while what it names is gone."""
    plain, firm = _plain(ctx, sources, key)
    if plain is None:
        return None
    of_users = (ctx.fetch(sources.attached.layers, ref) for ref in key.policies)
    stack = own_policies(
        ctx, sources, key, stacks.Stack(tuple(layer for layer in of_users if layer is not None))
    )
    if not stack.traffic:
        return Made(plain)
    return Made(*traffic_backends.apply(plain, merge.merge(stack.traffic), firm=firm))


def barred_by(ctx: Context, sources: Sources, stack: stacks.Stack) -> str:
    """Why the policies of `stack` let nothing be sent to a backend; "" if they do."""
    return traffic_tls.barred(ctx, sources.unsafe, merge.merge(stack.traffic)) if stack.traffic else ""


def own_policies(ctx: Context, sources: Sources, key: ir.ClusterKey, below: stacks.Stack) -> stacks.Stack:
    """`below` with the policies that target the backend itself, or its port, on top."""
    own = ctx.fetch(sources.attached.at, key.ref)
    if own is None:
        return below
    stack = below.over(own.get(""))
    found = ctx.fetch(sources.services, key.ref) if own.keys() - {""} else None
    port = port_of(found.spec, key.port, protocol_of(key)) if found is not None else None
    return stack.over(own.get(port.name)) if port is not None and port.name else stack


def _plain(ctx: Context, sources: Sources, key: ir.ClusterKey) -> tuple[ir.Cluster | None, bool]:
    """The cluster without TrafficPolicies, and whether the backend says itself whom to trust."""
    if key.ref.kind == ir.HOST:
        return hosts.cluster(key), True
    if key.ref.kind == "Service":
        found = ctx.fetch(sources.services, key.ref)
        port = port_of(found.spec, key.port, protocol_of(key)) if found is not None else None
        if found is None or port is None:
            return None, False
        origin = Origin(key.ref, ("spec", "ports", found.spec.ports.index(port)))
        tls = _service_tls(key, found, port)
        made = ir.Cluster(key, ir.Discovery.EDS, _protocol(key, port), tls, origin=origin)
        return made, found.policy(port) is not None
    spec = ctx.fetch(sources.backends, key.ref)
    return (_from_backend(key, spec), spec.tls is not None) if spec is not None else (None, False)


def protocol_of(key: ir.ClusterKey) -> str:
    """What a Service port must say for this cluster."""
    return "UDP" if key.transport == ir.Transport.DATAGRAMS.value else "TCP"


def _protocol(key: ir.ClusterKey, port: service.ServicePort) -> ir.AppProtocol:
    match ir.Transport(key.transport):
        case ir.Transport.APPLICATION:
            return _application(port) or ir.AppProtocol.HTTP1
        case ir.Transport.GRPC:
            return ir.AppProtocol.HTTP2
        case ir.Transport.BYTES | ir.Transport.PASSTHROUGH | ir.Transport.DATAGRAMS:
            return ir.AppProtocol.NONE


def _service_tls(key: ir.ClusterKey, found: Service, port: service.ServicePort) -> ir.UpstreamTls | None:
    """A policy's TLS, else what `appProtocol` asks for; the latter says nothing of plain bytes."""
    if ir.Transport(key.transport) not in _SECURED:
        return None
    policy = found.policy(port)
    if policy is not None:
        return policy.tls
    if _says(port) not in _TLS or key.transport != ir.Transport.APPLICATION.value:
        return None
    name = f"{key.ref.name}.{key.ref.namespace}.svc"
    return ir.UpstreamTls(sni=name, sans=(name,))


def _application(port: service.ServicePort) -> ir.AppProtocol | None:
    says = _says(port)
    return _CLEAR.get(says) or _TLS.get(says)


def _says(port: service.ServicePort) -> str:
    """`appProtocol`; IANA's names, those without a prefix, are the same in any case (RFC 6335, 5.1)."""
    return port.app_protocol if "/" in port.app_protocol else port.app_protocol.lower()


def _from_backend(key: ir.ClusterKey, spec: backend.Backend) -> ir.Cluster:
    resolved = any(e.hostname for e in spec.endpoints)
    spoken = {ir.Transport.APPLICATION: _SPOKEN[spec.protocol], ir.Transport.GRPC: ir.AppProtocol.HTTP2}
    secured = spec.tls is not None and ir.Transport(key.transport) in _SECURED
    return ir.Cluster(
        key,
        ir.Discovery.DNS if resolved else ir.Discovery.STATIC,
        spoken.get(ir.Transport(key.transport), ir.AppProtocol.NONE),
        _tls(key.ref, spec) if secured else None,
        tuple(sorted({_endpoint(e) for e in spec.endpoints})),
        5.0 if spec.connect_timeout is None else spec.connect_timeout,
        origin=Origin(key.ref, ("spec",)),
    )


def _endpoint(given: backend.Endpoint) -> ir.Endpoint:
    return ir.Endpoint(
        given.hostname or given.address or given.unix or "",
        given.port or 0,
        given.zone,
        given.priority,
        weight=given.weight,
        hostname=given.hostname or "",
    )


def _tls(ref: Ref, spec: backend.Backend) -> ir.UpstreamTls:
    tls = spec.tls or backend.Tls()
    hosts = {e.hostname for e in spec.endpoints if e.hostname}
    name = tls.hostname or (hosts.pop() if len(hosts) == 1 else "") or ""
    return ir.UpstreamTls(
        sni=name,
        ca=secrets.authority(ref, spec),
        system_ca=not tls.ca_certificate_refs and not tls.insecure_skip_verify,
        sans=() if tls.insecure_skip_verify else tls.subject_alt_names or ((name,) if name else ()),
        certificate=secrets.client_certificate(ref, spec),
        insecure=tls.insecure_skip_verify,
    )


def findings(ctx: Context, sources: Sources, ref: Ref) -> tuple[Diagnostic, ...] | None:
    """What is wrong with a Backend although each of its fields is well formed."""
    flaw = ctx.fetch(sources.flawed, ref)
    if flaw is None:
        return None
    return (error("DRG2007", flaw, Origin(ref, ("spec", "tls")), label="routes to it answer 500"),)


def barred(unresolved: Iterable[Unresolved]) -> frozenset[Ref]:
    """The Services that policies keep these references from."""
    found = [one.barred for one in unresolved if one.barred is not None]
    return frozenset(found) if found else _NOBODY
