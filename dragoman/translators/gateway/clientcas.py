"""Whom a Gateway's HTTPS listeners believe their clients to be: certificates checked against authorities
(Gateway API v1.6, FrontendTLSConfig).

The Gateway says it by default or per port; each of its listeners, and those of its ListenerSets, is judged
with the `Clients` of its port. Failing closed: where no authority can be used, the listener is not served.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from dragoman.diagnostics import Diagnostic, error
from dragoman.graph.collection import Context
from dragoman.ir import model as ir
from dragoman.refs import FieldPath, Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import grants, secrets
from dragoman.translators.gateway.models import gateway as model, meta


@dataclass(frozen=True, slots=True)
class Clients:
    """What is asked of clients. `resolved` and `refused`: the listener's conditions where references lead
    nowhere, and where none is left."""

    validation: ir.ClientValidation | None = None
    resolved: base.Condition | None = None
    refused: base.Condition | None = None
    findings: tuple[Diagnostic, ...] = ()


NONE: Final = Clients()


def configured(spec: model.Gateway, port: int) -> tuple[FieldPath, model.FrontendValidation] | None:
    """What the Gateway says for this port, and where."""
    frontend = spec.tls.frontend if spec.tls is not None else None
    if frontend is None:
        return None
    for at, one in enumerate(frontend.per_port):
        if one.port == port:
            found = one.tls.validation
            path: FieldPath = ("spec", "tls", "frontend", "perPort", at, "tls", "validation")
            return (path, found) if found is not None else None
    found = frontend.default.validation
    return (("spec", "tls", "frontend", "default", "validation"), found) if found is not None else None


def insecure(spec: model.Gateway) -> bool:
    """Whether clients without a valid certificate are let in somewhere."""
    frontend = spec.tls.frontend if spec.tls is not None else None
    if frontend is None:
        return False
    configs = (frontend.default, *(one.tls for one in frontend.per_port))
    return any(c.validation is not None and c.validation.mode == "AllowInsecureFallback" for c in configs)


def judge(
    ctx: Context, granted: grants.Grants, flaws: secrets.Flaws, ref: Ref, spec: model.Gateway, port: int
) -> Clients:
    """The Gateway's wish for one port."""
    found = configured(spec, port)
    if found is None:
        return NONE
    path, validation = found
    origin = Origin(ref, path)
    bad: list[tuple[str, Diagnostic]] = []
    usable = 0
    for at, wanted in enumerate(validation.ca_certificate_refs):
        found_bad = problem(ctx, granted, flaws, ref, wanted, origin.at("caCertificateRefs", at))
        if found_bad is None:
            usable += 1
        else:
            bad.append(found_bad)
    resolved = refused = None
    if bad:
        message = "; ".join(finding.message for _, finding in bad)
        resolved = base.Condition("ResolvedRefs", False, bad[0][0], message)
        if not usable:
            refused = base.Condition("Accepted", False, "NoValidCACertificate", message)
    made = None
    if usable:
        made = ir.ClientValidation(authority(ref, spec, port), validation.mode == "AllowInsecureFallback")
    return Clients(made, resolved, refused, tuple(finding for _, finding in bad))


def authority(ref: Ref, spec: model.Gateway, port: int) -> ir.SecretKey:
    """The bundle of a port's authorities, under the Gateway's own name. The default's is shared by ports."""
    own = (
        any(one.port == port for one in spec.tls.frontend.per_port)
        if spec.tls and spec.tls.frontend
        else False
    )
    return ir.SecretKey(ref, f"ca-{port}" if own else "ca")


def uses(ref: Ref, spec: model.Gateway) -> Iterator[ir.SecretKey]:
    """Every bundle, and every object that one is made of."""
    frontend = spec.tls.frontend if spec.tls is not None else None
    if frontend is None:
        return
    for key, validation in bundles(ref, frontend):
        yield key
        for wanted in validation.ca_certificate_refs:
            if (part := secrets.trusted(wanted, wanted.namespace or ref.namespace)) is not None:
                yield part


def bundles(ref: Ref, frontend: model.FrontendTls) -> Iterator[tuple[ir.SecretKey, model.FrontendValidation]]:
    if frontend.default.validation is not None:
        yield ir.SecretKey(ref, "ca"), frontend.default.validation
    for one in frontend.per_port:
        if one.tls.validation is not None:
            yield ir.SecretKey(ref, f"ca-{one.port}"), one.tls.validation


def problem(
    ctx: Context,
    granted: grants.Grants,
    flaws: secrets.Flaws,
    ref: Ref,
    wanted: meta.ObjectReference,
    origin: Origin,
    use: str = "ca",
) -> tuple[str, Diagnostic] | None:
    """Reason and finding, if the authorities that `ref` refers to at `origin` cannot be used; with `use`
    `crl`, the lists of revoked certificates."""
    part = secrets.trusted(wanted, wanted.namespace or ref.namespace, use)
    if part is None:
        what = "authorities" if use == "ca" else "lists of revoked certificates"
        message = f"{what} come from ConfigMaps and Secrets, not from kind {wanted.kind}"
        return "InvalidCACertificateKind", error(
            "DRG2005", message, origin.at("kind"), label="expected ConfigMap"
        )
    if not grants.permitted(ctx, granted, ref, part.ref):
        message = f"{ref.kind} {ref.id} may not refer to {part.ref}"
        hint = grants.hint(ref, part.ref)
        return "RefNotPermitted", error("DRG2006", message, origin.at("namespace"), help=hint)
    flaw = ctx.fetch(flaws, part)
    if flaw is None:
        return None
    message = flaw.message if flaw.code == "DRG2007" else f"{part.ref} cannot be used: {flaw.message}"
    return "InvalidCACertificateRef", error("DRG2007", message, origin.at("name"))
