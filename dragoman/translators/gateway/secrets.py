"""Certificates: from Secrets and ConfigMaps that something refers to, to IR secrets or to a reason why
not.

Secrets that nothing refers to are never parsed. Whoever refers to one sees only whether it is usable,
so a renewed certificate goes to Envoy by SDS and makes nothing else run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from dragoman.diagnostics import Diagnostic, error
from dragoman.graph.collection import Collection, Context, Graph
from dragoman.ir import model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import keypairs
from dragoman.translators.gateway.models import backend, configmap, meta, secret

Credentials = Collection[ir.SecretKey, ir.Secret | keypairs.Flaw]
Flaws = Collection[ir.SecretKey, keypairs.Flaw]


@dataclass(frozen=True, slots=True)
class Vault:
    """The certificates that something refers to, and what is wrong with some of them."""

    credentials: Credentials
    flaws: Flaws
    findings: Collection[Ref, tuple[Diagnostic, ...]]


@dataclass(frozen=True, slots=True)
class User:
    """A kind whose objects refer to certificates. `uses` lists the keys of one object, those of its bundles
    among them; `parts` says which keys make up a bundle (Envoy takes one for several authorities): a key
    whose `ref` is the object itself. `patient`: parts that cannot be used are left out while others can.
    """

    group: str
    kind: str
    uses: Callable[[Ref, Any], Iterable[ir.SecretKey]]
    parts: Callable[[Context, ir.SecretKey, Any], Iterable[ir.SecretKey]]
    patient: bool = False


def build(graph: Graph, objects: base.Objects, users: Iterable[User]) -> Vault:
    """Follows the references of `users`."""
    secrets = objects[meta.CORE_GROUP, "Secret"]
    configmaps = objects[meta.CORE_GROUP, "ConfigMap"]
    holders = {(user.group, user.kind): user for user in users}

    def load(ctx: Context, key: ir.SecretKey, _: bool) -> ir.Secret | keypairs.Flaw:
        user = holders.get((key.ref.group, key.ref.kind))
        if user is not None:
            return bundle(ctx, key, user)
        source = configmaps if key.ref.kind == "ConfigMap" else secrets
        return read(key, ctx.fetch(source, key.ref))

    def bundle(ctx: Context, key: ir.SecretKey, user: User) -> ir.Secret | keypairs.Flaw:
        item = ctx.fetch(objects[user.group, user.kind], key.ref)
        parts: list[bytes] = []
        flaw = keypairs.Flaw("DRG2007", f"{key.ref} names no authority")
        for part in user.parts(ctx, key, item.spec) if item is not None else ():
            found = load(ctx, part, True)
            if not isinstance(found, keypairs.Flaw):
                parts.append(found.ca or found.crl)
                continue
            flaw = found
            if not user.patient:
                return found
        if not parts:
            return flaw
        whole, origin = b"\n".join(parts), Origin(key.ref, ("spec",))
        return (
            ir.Secret(key, crl=whole, origin=origin)
            if key.use == "crl"
            else ir.Secret(key, ca=whole, origin=origin)
        )

    used = graph.union("certificates used", *(_used(graph, objects, user) for user in holders.values()))
    credentials: Credentials = graph.map_one("certificates", used, load)
    flaws = graph.map_one("certificate flaws", credentials, _flaw)

    def holder(key: ir.SecretKey, flaw: keypairs.Flaw) -> tuple[Ref, ...]:
        """A flaw in what is there is reported there; what is missing, where it is referred to."""
        bundled = (key.ref.group, key.ref.kind) in holders
        return () if flaw.code == "DRG2007" or bundled else (key.ref,)

    findings = graph.group_by("certificate findings", flaws, holder, _findings)
    return Vault(credentials, flaws, findings)


def _used(graph: Graph, objects: base.Objects, user: User) -> Collection[ir.SecretKey, bool]:
    def uses(ref: Ref, item: base.AnyObject) -> Iterable[ir.SecretKey]:
        return set(user.uses(ref, item.spec))

    name = f"certificates of {user.kind}s"
    return graph.named(name, (objects[user.group, user.kind], uses))


def read(key: ir.SecretKey, item: base.AnyObject | None) -> ir.Secret | keypairs.Flaw:
    """The IR secret of one Secret or ConfigMap."""
    if item is None:
        return keypairs.Flaw("DRG2007", f"{key.ref} is not there")
    origin = Origin(key.ref)
    held: secret.Secret | configmap.ConfigMap = item.spec
    if key.use in ("ca", "crl"):
        entry = "ca.crt" if key.use == "ca" else "ca.crl"
        text = held.value(entry) if isinstance(held, secret.Secret) else held.data.get(entry, "")
        found = text.encode(errors="replace") if isinstance(text, str) else text
        if key.use == "crl":
            return keypairs.revoked(found) or ir.Secret(key, crl=found or b"", origin=origin)
        return keypairs.trust(found) or ir.Secret(key, ca=found or b"", origin=origin)
    if not isinstance(held, secret.Secret):
        return keypairs.Flaw("DRG2007", f"{key.ref} holds no certificate")
    certificate, private = held.value("tls.crt"), held.value("tls.key")
    flaw = keypairs.pair(certificate, private)
    return flaw or ir.Secret(key, certificate or b"", private or b"", origin=origin)


def target(namespace: str, wanted: meta.SecretObjectReference) -> Ref:
    """What a certificateRef of an object in `namespace` refers to."""
    return Ref(wanted.group, wanted.kind, wanted.namespace or namespace, wanted.name)


def trusted(
    wanted: meta.ObjectReference | meta.LocalObjectReference, namespace: str, use: str = "ca"
) -> ir.SecretKey | None:
    """The key of an authority (or a list of revoked certificates) that is referred to; None for a kind that
    holds none."""
    if wanted.group or wanted.kind not in ("ConfigMap", "Secret"):
        return None
    return ir.SecretKey(Ref("", wanted.kind, namespace, wanted.name), use)


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


def parts(key: ir.SecretKey, spec: backend.Backend) -> Iterable[ir.SecretKey]:
    """What a Backend's bundle is made of."""
    for wanted in spec.tls.ca_certificate_refs if spec.tls is not None else ():
        yield ir.SecretKey(Ref("", wanted.kind, key.ref.namespace, wanted.name), "ca")


def needs(ref: Ref, spec: backend.Backend) -> tuple[ir.SecretKey, ...]:
    """Every certificate that a Backend cannot do without."""
    return tuple(key for key in (authority(ref, spec), client_certificate(ref, spec)) if key is not None)


def _findings(_: Context, ref: Ref, members: Any) -> tuple[Diagnostic, ...]:
    return tuple(
        error(flaw.code, flaw.message, Origin(ref, ("data", flaw.key))) for _, flaw in sorted(members.items())
    )


def _flaw(_: Context, __: ir.SecretKey, found: ir.Secret | keypairs.Flaw) -> keypairs.Flaw | None:
    return found if isinstance(found, keypairs.Flaw) else None
