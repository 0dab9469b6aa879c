"""A TrafficPolicy's `tls` -> TLS to a cluster's endpoints, and who is kept from it.

A policy whose certificates cannot be used keeps its backends from getting requests (500, connections closed):
never plain text, never unchecked. The backend's own word on whom to trust (Backend, BackendTLSPolicy) stands
above it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from dragoman.diagnostics import Diagnostic, error, warning
from dragoman.graph.collection import Collection, Context, Graph
from dragoman.ir import model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import secrets
from dragoman.translators.gateway.models import meta, policy, traffic_tls as model, trafficpolicy
from dragoman.translators.gateway.policies import losses

_SECURED: Final = (
    ir.Transport.APPLICATION.value,
    ir.Transport.GRPC.value,
    ir.Transport.BYTES.value,
)
_REFERENCES: Final = ("caCertificateRefs", "clientCertificateRef")

Flaws = Collection[Ref, Mapping[str, Diagnostic]]
"""Policy -> field of `tls` -> why what it refers to cannot be used."""


def needs(ref: Ref, spec: trafficpolicy.TrafficPolicy) -> Iterator[ir.SecretKey]:
    """Every certificate that a policy refers to; several authorities as one bundle under its name."""
    if spec.tls is not None:
        yield from (key for key in (_authority(ref, spec.tls), _client(ref, spec.tls)) if key is not None)


def parts(_: Context, key: ir.SecretKey, spec: trafficpolicy.TrafficPolicy) -> Iterator[ir.SecretKey]:
    """What a policy's bundle is made of."""
    for wanted in (spec.tls.ca_certificate_refs or ()) if spec.tls is not None else ():
        yield ir.SecretKey(Ref("", wanted.kind, key.ref.namespace, wanted.name), "ca")


def flaws(graph: Graph, objects: base.Objects, vault: secrets.Vault) -> Flaws:
    """The policies whose certificates cannot be used."""

    def found(
        ctx: Context, ref: Ref, item: base.Object[trafficpolicy.TrafficPolicy]
    ) -> Mapping[str, Diagnostic] | None:
        tls = item.spec.tls
        if tls is None:
            return None
        made: dict[str, Diagnostic] = {}
        for field, key in zip(_REFERENCES, (_authority(ref, tls), _client(ref, tls)), strict=True):
            flaw = ctx.fetch(vault.flaws, key) if key is not None else None
            if key is not None and flaw is not None:
                why = flaw.message if flaw.code == "DRG2007" else f"{key.ref} cannot be used: {flaw.message}"
                where = Origin(ref, ("spec", "tls", field))
                made[field] = error("DRG2007", why, where, label="backends under the policy get nothing")
        return made or None

    return graph.map_one("flawed policies", objects[meta.DRAGOMAN_GROUP, "TrafficPolicy"], found)


def barred(ctx: Context, known: Flaws, merged: losses.Merged) -> str:
    """Why nothing may be sent to a backend under these policies; "" if it may."""
    if policy.on(merged.spec.tls) is None:
        return ""
    for field in _REFERENCES:
        ref = merged.says.get(("tls", field))
        found = ctx.fetch(known, ref) if ref is not None else None
        if found is not None and field in found:
            return f"{ref}: {found[field].message}"
    return ""


def apply(
    cluster: ir.Cluster, merged: losses.Merged, *, firm: bool
) -> tuple[ir.Cluster, tuple[Diagnostic, ...]]:
    """The cluster with TLS. `firm`: the backend says itself whom to trust."""
    given = policy.on(merged.spec.tls)
    if given is None:
        return cluster, ()
    if cluster.key.transport not in _SECURED:
        return cluster, tuple(losses.of(cluster, merged, ("tls",)))
    trusts = given.ca_certificate_refs or given.well_known_ca_certificates or given.insecure_skip_verify
    if cluster.tls is None and not trusts:
        return cluster, ()
    tls = cluster.tls or ir.UpstreamTls()
    if not firm:
        tls = _trust(_named(tls, given, cluster), given, merged)
    holder = merged.says.get(("tls", "clientCertificateRef"))
    if holder is not None and tls.certificate is None:
        tls = replace(tls, certificate=_client(holder, given))
    oldest, newest = given.minimum_version or "", given.maximum_version or ""
    findings: tuple[Diagnostic, ...] = ()
    if oldest and newest and newest < oldest:
        findings, newest = _crossed(merged), ""
    return replace(cluster, tls=replace(tls, oldest=oldest, newest=newest)), findings


def _named(tls: ir.UpstreamTls, given: model.Tls, cluster: ir.Cluster) -> ir.UpstreamTls:
    """Names to ask for and to check: never none, or a certificate for whatever name would do."""
    hosts = {one.hostname for one in cluster.endpoints}
    ref = cluster.key.ref
    own = (hosts.pop() if len(hosts) == 1 else "") or f"{ref.name}.{ref.namespace}.svc"
    name = given.hostname or tls.sni or own
    return replace(tls, sni=name, sans=given.subject_alt_names or (name,))


def _trust(tls: ir.UpstreamTls, given: model.Tls, merged: losses.Merged) -> ir.UpstreamTls:
    """Of layers that say different things the strictest counts."""
    holder = merged.says.get(("tls", "caCertificateRefs"))
    if holder is not None:
        return replace(tls, ca=_authority(holder, given), system_ca=False, insecure=False)
    if given.insecure_skip_verify and not given.well_known_ca_certificates:
        return replace(tls, ca=None, system_ca=False, sans=(), insecure=True)
    return tls


def _crossed(merged: losses.Merged) -> tuple[Diagnostic, ...]:
    origin = merged.origin("tls", "maximumVersion")
    if origin is None:
        return ()
    message = "`maximumVersion` is older than `minimumVersion`, and is left out"
    return (warning("DRG3002", message, origin),)


def _authority(ref: Ref, tls: model.Tls) -> ir.SecretKey | None:
    refs = tls.ca_certificate_refs or ()
    if len(refs) > 1:
        return ir.SecretKey(ref, "ca")
    return next((ir.SecretKey(Ref("", one.kind, ref.namespace, one.name), "ca") for one in refs), None)


def _client(ref: Ref, tls: model.Tls) -> ir.SecretKey | None:
    wanted = tls.client_certificate_ref
    return ir.SecretKey(Ref("", "Secret", ref.namespace, wanted.name)) if wanted is not None else None
