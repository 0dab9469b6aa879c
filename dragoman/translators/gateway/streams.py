"""TLSRoute, TCPRoute and UDPRoute -> where their connections and datagrams go.

They have no matches: one rule, and backends by weight. Envoy's UDP proxy has no weights, so several backends
of a UDPRoute become one cluster whose zones are the backends (`blend`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from dragoman.diagnostics import Diagnostic, error, warning
from dragoman.graph.collection import Context
from dragoman.ir import model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import backends, routes_http
from dragoman.translators.gateway.models import streamroutes as model
from dragoman.translators.gateway.policies import stacks

KINDS: Final = ("TLSRoute", "TCPRoute", "UDPRoute")

_DISCARD: Final = ir.Endpoint("127.255.255.254", 9)
"""The discard service's port (RFC 863), on an address of Envoy's own machine that nobody uses."""

Mixed = tuple[tuple[ir.ClusterKey | None, int], ...]
"""Clusters and their weights; None: a backend that is not there."""

Spec = model.TlsRoute | model.StreamRoute


@dataclass(frozen=True, slots=True)
class Target:
    """What the rule of a route comes to, wherever it is attached. `mixed`: the clusters that a UDPRoute's
    own cluster is made of, with their weights; `barred`: the Services that policies keep it from."""

    backends: tuple[ir.WeightedBackend, ...]
    resolved: base.Condition
    findings: tuple[Diagnostic, ...]
    mixed: Mixed = ()
    barred: frozenset[Ref] = frozenset()


def transport(kind: str, passthrough: bool) -> ir.Transport:
    """How its backends are spoken to."""
    if kind == "UDPRoute":
        return ir.Transport.DATAGRAMS
    return ir.Transport.PASSTHROUGH if passthrough else ir.Transport.BYTES


def translate(
    ctx: Context, sources: backends.Sources, ref: Ref, item: base.Object[Spec], how: ir.Transport
) -> Target:
    """The one rule of a route."""
    origin = Origin(ref, ("spec", "rules", 0))
    shares: list[ir.WeightedBackend] = []
    unresolved: list[backends.Unresolved] = []
    findings: list[Diagnostic] = []
    for at, wanted in enumerate(item.spec.rules[0].backend_refs):
        here = origin.at("backendRefs", at)
        cluster = backends.resolve(ctx, sources, ref, wanted, here, how)
        if isinstance(cluster, ir.ClusterKey):
            own = backends.own_policies(ctx, sources, cluster, stacks.EMPTY)
            why = backends.barred_by(ctx, sources, own)
            if why:
                finding = error("DRG2007", f"{cluster.ref} cannot be reached safely: {why}", here.at("name"))
                cluster = backends.Unresolved("", finding, cluster.ref)
        if isinstance(cluster, backends.Unresolved):
            unresolved.append(cluster)
            reason = cluster.finding.message
            shares.append(ir.WeightedBackend(None, wanted.weight, reason=reason, origin=here))
        else:
            shares.append(ir.WeightedBackend(cluster, wanted.weight, origin=here))
    if not any(share.weight for share in shares):
        where = origin.at("backendRefs")
        label = (
            "its connections are closed" if how is not ir.Transport.DATAGRAMS else "its datagrams are lost"
        )
        findings.append(warning("DRG1306", "every backend of the rule has weight 0", where, label=label))
    if item.spec.use_default_gateways == "All":
        where = Origin(ref, ("spec", "useDefaultGateways"))
        message = "there are no default Gateways: parentRefs alone count"
        findings.append(warning("DRG3001", message, where))
    resolved = routes_http.resolution(unresolved)
    findings += [one.finding for one in unresolved]
    if how is ir.Transport.DATAGRAMS and sum(1 for share in shares if share.weight) > 1:
        return _mixture(ref, shares, resolved, tuple(findings))
    return Target(tuple(shares), resolved, tuple(findings), barred=backends.barred(unresolved))


def _mixture(
    ref: Ref, shares: list[ir.WeightedBackend], resolved: base.Condition, findings: tuple[Diagnostic, ...]
) -> Target:
    parts = tuple((one.cluster, one.weight) for one in shares if one.weight)
    if not any(cluster for cluster, _ in parts):
        return Target(tuple(shares), resolved, findings)
    own = ir.ClusterKey(ref, 0, ir.Transport.DATAGRAMS.value)
    origin = Origin(ref, ("spec", "rules", 0, "backendRefs"))
    return Target((ir.WeightedBackend(own, origin=origin),), resolved, findings, parts)


def mixture(key: ir.ClusterKey) -> ir.Cluster:
    """The cluster of a UDPRoute with several backends."""
    return ir.Cluster(
        key, ir.Discovery.EDS, ir.AppProtocol.NONE, shared=True, origin=Origin(key.ref, ("spec", "rules", 0))
    )


def blend(
    key: ir.ClusterKey,
    parts: Mixed,
    sets: Mapping[ir.ClusterKey, ir.EndpointSet],
) -> ir.EndpointSet:
    """The endpoints of several backends as zones with their shares. The share of one without endpoints, or
    that is not there, is lost (UDPRouteRule.backendRefs): it goes where nobody listens."""
    found: list[ir.Endpoint] = []
    shares: list[tuple[str, int]] = []
    for number, (part, weight) in enumerate(parts):
        zone = f"{number:02}"
        own = sets.get(part) if part is not None else None
        endpoints = own.endpoints if own is not None else ()
        found += [replace(one, zone=zone) for one in endpoints or (_DISCARD,)]
        shares.append((zone, weight))
    return ir.EndpointSet(key, tuple(found), tuple(shares))
