"""Rules of policies that span several fields (the CRDs' CEL validations)."""

from __future__ import annotations

from collections.abc import Iterator

from dragoman.diagnostics import Diagnostic, error
from dragoman.refs import Origin, Ref
from dragoman.translators.gateway.models import backendtlspolicy as tls


def check_tls(ref: Ref, spec: tls.BackendTlsPolicy) -> Iterator[Diagnostic]:
    """What the API server would refuse of a BackendTLSPolicy."""
    yield from _targets(Origin(ref, ("spec", "targetRefs")), spec.target_refs)
    validation = spec.validation
    where = Origin(ref, ("spec", "validation"))
    if bool(validation.ca_certificate_refs) == bool(validation.well_known_ca_certificates):
        message = "exactly one of `caCertificateRefs` and `wellKnownCACertificates` says whom to trust"
        yield error("DRG1108", message, where)
    for at, name in enumerate(validation.subject_alt_names):
        wanted, other = ("hostname", name.uri) if name.type == "Hostname" else ("uri", name.hostname)
        if getattr(name, wanted) is None:
            label = f"type {name.type} needs `{wanted}`"
            yield error("DRG1102", f"`{wanted}` is missing", where.at("subjectAltNames", at), label=label)
        if other is not None:
            message = f"type {name.type} takes `{wanted}` alone"
            yield error("DRG1108", message, where.at("subjectAltNames", at))


def _targets(where: Origin, targets: tuple[tls.TargetRef, ...]) -> Iterator[Diagnostic]:
    seen: dict[tuple[str, str, str], set[str]] = {}
    for at, one in enumerate(targets):
        sections = seen.setdefault((one.group, one.kind, one.name), set())
        section = one.section_name or ""
        if section in sections:
            yield error("DRG1108", f"{one.kind} {one.name} is listed twice", where.at(at))
        elif sections and ("" in sections or not section):
            message = f"targetRefs to {one.kind} {one.name} must all set sectionName, or be one"
            yield error("DRG1108", message, where.at(at))
        sections.add(section)
