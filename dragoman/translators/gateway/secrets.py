"""Certificates: from Secrets and ConfigMaps that something refers to, to IR secrets or to a reason why
not.

Secrets that nothing refers to are never parsed. Whoever refers to one sees only whether it is usable,
so a renewed certificate goes to Envoy by SDS and makes nothing else run again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dragoman.diagnostics import Diagnostic, error
from dragoman.graph.collection import Collection, Context, Graph
from dragoman.ir import model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import keypairs
from dragoman.translators.gateway.models import backend, configmap, gateway, meta, secret

Credentials = Collection[ir.SecretKey, ir.Secret | keypairs.Flaw]
Flaws = Collection[ir.SecretKey, keypairs.Flaw]


@dataclass(frozen=True, slots=True)
class Vault:
    """The certificates that something refers to, and what is wrong with some of them."""

    credentials: Credentials
    flaws: Flaws
    findings: Collection[Ref, tuple[Diagnostic, ...]]


def build(graph: Graph, objects: base.Objects) -> Vault:
    """Follows the references of Gateways and Backends."""
    secrets = objects[meta.CORE_GROUP, "Secret"]
    configmaps = objects[meta.CORE_GROUP, "ConfigMap"]
    backends = objects[meta.DRAGOMAN_GROUP, "Backend"]

    def listeners_use(ref: Ref, item: base.Object[gateway.Gateway]) -> Iterable[ir.SecretKey]:
        return {
            ir.SecretKey(target(ref.namespace, wanted))
            for listener in item.spec.listeners
            if listener.tls is not None
            for wanted in listener.tls.certificate_refs
        }

    def backends_use(ref: Ref, item: base.Object[backend.Backend]) -> Iterable[ir.SecretKey]:
        return needs(ref, item.spec)

    def load(ctx: Context, key: ir.SecretKey, _: bool) -> ir.Secret | keypairs.Flaw:
        if key.ref.kind == "Backend":
            return _bundle(ctx, key)
        source = configmaps if key.ref.kind == "ConfigMap" else secrets
        return read(key, ctx.fetch(source, key.ref))

    def _bundle(ctx: Context, key: ir.SecretKey) -> ir.Secret | keypairs.Flaw:
        """Several caCertificateRefs of one Backend: Envoy takes one bundle."""
        item = ctx.fetch(backends, key.ref)
        tls = item.spec.tls if item is not None else None
        parts: list[bytes] = []
        for wanted in tls.ca_certificate_refs if tls is not None else ():
            part = ir.SecretKey(Ref("", wanted.kind, key.ref.namespace, wanted.name), "ca")
            source = configmaps if wanted.kind == "ConfigMap" else secrets
            found = read(part, ctx.fetch(source, part.ref))
            if isinstance(found, keypairs.Flaw):
                return found
            parts.append(found.ca)
        return ir.Secret(key, ca=b"\n".join(parts), origin=Origin(key.ref, ("spec", "tls")))

    used = graph.union(
        "certificates used",
        graph.group_by(
            "certificates of Gateways",
            objects[meta.GATEWAY_GROUP, "Gateway"],
            listeners_use,
            lambda *_: True,
        ),
        graph.group_by("certificates of Backends", backends, backends_use, lambda *_: True),
    )
    credentials: Credentials = graph.map_one("certificates", used, load)
    flaws = graph.map_one("certificate flaws", credentials, _flaw)
    findings = graph.group_by("certificate findings", flaws, _holder, _findings)
    return Vault(credentials, flaws, findings)


def read(key: ir.SecretKey, item: base.AnyObject | None) -> ir.Secret | keypairs.Flaw:
    """The IR secret of one Secret or ConfigMap."""
    if item is None:
        return keypairs.Flaw("DRG2007", f"{key.ref} is not there")
    origin = Origin(key.ref)
    held: secret.Secret | configmap.ConfigMap = item.spec
    if key.use == "ca":
        bundle = (
            held.value("ca.crt") if isinstance(held, secret.Secret) else held.data.get("ca.crt", "").encode()
        )
        return keypairs.trust(bundle) or ir.Secret(key, ca=bundle or b"", origin=origin)
    assert isinstance(held, secret.Secret)
    certificate, private = held.value("tls.crt"), held.value("tls.key")
    flaw = keypairs.pair(certificate, private)
    return flaw or ir.Secret(key, certificate or b"", private or b"", origin=origin)


def target(namespace: str, wanted: meta.SecretObjectReference) -> Ref:
    """What a certificateRef of an object in `namespace` refers to."""
    return Ref(wanted.group, wanted.kind, wanted.namespace or namespace, wanted.name)


def authority(ref: Ref, spec: backend.Backend) -> ir.SecretKey | None:
    """The certificates that a Backend trusts: one object's, or a bundle under the Backend's own name."""
    refs = spec.tls.ca_certificate_refs if spec.tls is not None else ()
    if len(refs) > 1:
        return ir.SecretKey(ref, "ca")
    return next((ir.SecretKey(Ref("", r.kind, ref.namespace, r.name), "ca") for r in refs), None)


def client_certificate(ref: Ref, spec: backend.Backend) -> ir.SecretKey | None:
    """The certificate that Envoy shows to a Backend."""
    wanted = spec.tls.client_certificate_ref if spec.tls is not None else None
    return ir.SecretKey(Ref("", "Secret", ref.namespace, wanted.name)) if wanted is not None else None


def needs(ref: Ref, spec: backend.Backend) -> tuple[ir.SecretKey, ...]:
    """Every certificate that a Backend cannot do without."""
    return tuple(key for key in (authority(ref, spec), client_certificate(ref, spec)) if key is not None)


def _holder(key: ir.SecretKey, flaw: keypairs.Flaw) -> tuple[Ref, ...]:
    """A flaw in what is there is reported there; what is missing, where it is referred to."""
    return (key.ref,) if flaw.code != "DRG2007" and key.ref.kind != "Backend" else ()


def _findings(_: Context, ref: Ref, members: Any) -> tuple[Diagnostic, ...]:
    return tuple(
        error(flaw.code, flaw.message, Origin(ref, ("data", flaw.key))) for _, flaw in sorted(members.items())
    )


def _flaw(_: Context, __: ir.SecretKey, found: ir.Secret | keypairs.Flaw) -> keypairs.Flaw | None:
    return found if isinstance(found, keypairs.Flaw) else None
