"""Rules of policies that span several fields (the CRDs' CEL validations)."""

from __future__ import annotations

from collections.abc import Iterator

from dragoman.diagnostics import Diagnostic, error
from dragoman.refs import Origin, Ref
from dragoman.translators.gateway import complaints
from dragoman.translators.gateway.models import backendtlspolicy as tls, policy
from dragoman.translators.gateway.policies import attach


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


def check(ref: Ref, spec: policy.Policy) -> Iterator[Diagnostic]:
    """The targets of Dragoman's own policies."""
    where = Origin(ref, ("spec", "targetRefs"))
    if not spec.target_refs and not spec.target_selectors:
        label = "`targetRefs` or `targetSelectors` goes here"
        yield error("DRG1102", "the policy targets nothing", Origin(ref, ("spec",)), label=label)
    seen: set[tuple[str, str, str]] = set()
    for at, one in enumerate(spec.target_refs):
        yield from _kind(ref, one.group, one.kind, where.at(at))
        if one.section_name is not None and one.kind not in attach.PARTS:
            message = f"a {one.kind} has no sections to target"
            yield error("DRG1108", message, where.at(at, "sectionName"))
        key = (one.kind, one.name, one.section_name or "")
        if key in seen:
            yield error("DRG1108", f"{one.kind} {one.name} is listed twice", where.at(at))
        seen.add(key)
    for at, each in enumerate(spec.target_selectors):
        yield from _kind(ref, each.group, each.kind, Origin(ref, ("spec", "targetSelectors", at)))


def _kind(ref: Ref, group: str | None, kind: str, where: Origin) -> Iterator[Diagnostic]:
    known = attach.KINDS[ref.kind]
    if kind not in known:
        label = f"{ref.kind} targets {', '.join(known)}"
        near = complaints.near(kind, known)
        yield error(
            "DRG1106", f"a {ref.kind} cannot target a {kind}", where.at("kind"), label=label, help=near
        )
    elif group not in (None, attach.GROUPS[kind]):
        label = f'expected "{attach.GROUPS[kind]}"'
        yield error("DRG1106", f"{kind} is not of group `{group}`", where.at("group"), label=label)


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
