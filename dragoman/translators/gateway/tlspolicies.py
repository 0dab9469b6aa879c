"""BackendTLSPolicies: which TLS a Service's ports get, and what becomes of each policy.

Of several for one Service and port the oldest counts, the others are told so (GEP-713). A policy that
cannot be honoured bars what it targets: requests get a 500, never plain text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from dragoman.diagnostics import Diagnostic, error, warning
from dragoman.graph.collection import Collection, Context, Graph
from dragoman.ir import model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import complaints, secrets
from dragoman.translators.gateway.models import backendtlspolicy as model

_ACCEPTED: Final = base.Condition("Accepted", True, "Accepted", "the policy is in force")
_RESOLVED: Final = base.Condition("ResolvedRefs", True, "ResolvedRefs", "every reference leads somewhere")


class Target(NamedTuple):
    """A Service, and a port's name or "" for all that have no policy of their own."""

    service: Ref
    section: str = ""


@dataclass(frozen=True, slots=True)
class Effect:
    """What the policy in force does to its target. `barred`: why nothing may be sent there."""

    tls: ir.UpstreamTls | None
    barred: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one policy comes to by itself."""

    effect: Effect
    accepted: base.Condition
    resolved: base.Condition
    findings: tuple[Diagnostic, ...]


@dataclass(frozen=True, slots=True)
class Policies:
    """`by_service`: section -> effect of the policy in force. `standings`: each policy's conditions."""

    by_service: Collection[Ref, Mapping[str, Effect]]
    standings: Collection[Ref, Verdict]


class _Bid(NamedTuple):
    """Sorts by precedence."""

    created: str
    ref: Ref
    at: int


def build(
    graph: Graph,
    objects: Collection[Ref, base.Object[model.BackendTlsPolicy]],
    services: Collection[Ref, base.AnyObject],
    vault: secrets.Vault,
) -> Policies:
    """The effects and standings of all policies."""
    verdicts = graph.map_one(
        "BackendTLSPolicy verdicts", objects, lambda ctx, ref, item: _judge(ctx, vault, ref, item)
    )

    def bid(_: Context, ref: Ref, item: base.Object[model.BackendTlsPolicy]) -> Iterator[tuple[Any, Target]]:
        for at, target in enumerate(targets(ref, item.spec)):
            if target is not None:
                yield _Bid(item.meta.created or "~", ref, at), target

    bids = graph.map_many("BackendTLSPolicy targets", objects, bid)
    winners = graph.group_by(
        "BackendTLSPolicy winners", bids, lambda _, target: (target,), lambda _, __, found: min(found)
    )

    def effects(ctx: Context, _: Ref, found: Mapping[Target, _Bid]) -> Mapping[str, Effect]:
        made: dict[str, Effect] = {}
        for target, winner in found.items():
            verdict = ctx.fetch(verdicts, winner.ref)
            if verdict is not None:
                made[target.section] = verdict.effect
        return made

    by_service = graph.group_by(
        "BackendTLSPolicies of Services", winners, lambda target, _: (target.service,), effects
    )

    def standing(ctx: Context, ref: Ref, item: base.Object[model.BackendTlsPolicy]) -> Verdict | None:
        verdict = ctx.fetch(verdicts, ref)
        if verdict is None:
            return None
        lost: list[Diagnostic] = []
        idle: list[Diagnostic] = []
        for at, target in enumerate(targets(ref, item.spec)):
            origin = Origin(ref, ("spec", "targetRefs", at))
            if target is None:
                idle.append(_foreign(item.spec.target_refs[at], origin))
                continue
            winner = ctx.fetch(winners, target)
            missing = _missing(target, ctx.fetch(services, target.service), origin)
            if winner is not None and winner.ref != ref:
                lost.append(_conflict(target, winner.ref, origin))
            elif missing is not None:
                idle.append(missing)
        return _weigh(verdict, lost, idle, len(item.spec.target_refs))

    return Policies(by_service, graph.map_one("BackendTLSPolicy standings", objects, standing))


def targets(ref: Ref, spec: model.BackendTlsPolicy) -> Iterator[Target | None]:
    """What each targetRef means; None for what is no Service."""
    for one in spec.target_refs:
        service = not one.group and one.kind == "Service"
        yield Target(Ref("", "Service", ref.namespace, one.name), one.section_name or "") if service else None


def uses(ref: Ref, spec: model.BackendTlsPolicy) -> Iterator[ir.SecretKey]:
    """The authorities it needs: each by itself, and together under the policy's name."""
    wanted = spec.validation.ca_certificate_refs
    parts = [part for one in wanted if (part := secrets.trusted(one, ref.namespace)) is not None]
    yield from parts
    if len(parts) > 1:
        yield ir.SecretKey(ref, "ca")


def _judge(
    ctx: Context, vault: secrets.Vault, ref: Ref, item: base.Object[model.BackendTlsPolicy]
) -> Verdict:
    spec = item.spec
    where = Origin(ref, ("spec", "validation"))
    bad: list[tuple[str, Diagnostic]] = []
    good: list[ir.SecretKey] = []
    for at, wanted in enumerate(spec.validation.ca_certificate_refs):
        here = where.at("caCertificateRefs", at)
        part = secrets.trusted(wanted, ref.namespace)
        if part is None:
            message = f"authorities come from ConfigMaps and Secrets, not from kind {wanted.kind}"
            bad.append(("InvalidKind", error("DRG2005", message, here.at("kind"))))
            continue
        flaw = ctx.fetch(vault.flaws, part)
        if flaw is None:
            good.append(part)
            continue
        message = flaw.message if flaw.code == "DRG2007" else f"{part.ref} cannot be used: {flaw.message}"
        bad.append(("InvalidCACertificateRef", error("DRG2007", message, here.at("name"))))
    findings = [finding for _, finding in bad]
    for option in spec.options:
        message = f"TLS option {option} is not known and has no effect"
        findings.append(warning("DRG3001", message, Origin(ref, ("spec", "options", option))))
    system = spec.validation.well_known_ca_certificates
    accepted, resolved = _ACCEPTED, _RESOLVED
    if bad:
        resolved = base.Condition("ResolvedRefs", False, bad[0][0], "; ".join(f.message for _, f in bad))
    if system not in (None, "System"):
        message = f"wellKnownCACertificates {system} is not known; System is"
        findings.append(error("DRG1106", message, where.at("wellKnownCACertificates")))
        accepted = base.Condition("Accepted", False, "Invalid", message)
    elif not good and system is None:
        accepted = base.Condition("Accepted", False, "NoValidCACertificate", resolved.message)
    # A reference that leads nowhere fails the connections, even where others would do.
    barred = accepted.message if not accepted.status else resolved.message if bad else ""
    tls = None if barred else _tls(ref, spec, good)
    return Verdict(Effect(tls, barred), accepted, resolved, tuple(findings))


def _tls(ref: Ref, spec: model.BackendTlsPolicy, authorities: list[ir.SecretKey]) -> ir.UpstreamTls:
    wanted = spec.validation
    names = tuple(name for each in wanted.subject_alt_names if (name := each.hostname or each.uri))
    ca = None
    if authorities:
        ca = authorities[0] if len(authorities) == 1 else ir.SecretKey(ref, "ca")
    return ir.UpstreamTls(sni=wanted.hostname, ca=ca, system_ca=ca is None, sans=names or (wanted.hostname,))


def _foreign(target: model.TargetRef, origin: Origin) -> Diagnostic:
    kind = f"{target.kind} of {target.group}" if target.group else target.kind
    hint = "a Backend has `tls` of its own" if target.kind == "Backend" else ""
    return warning("DRG2005", f"policies of this kind do not target {kind}", origin.at("kind"), help=hint)


def _missing(target: Target, found: base.AnyObject | None, origin: Origin) -> Diagnostic | None:
    """Why what a policy targets is not there."""
    if found is None:
        message = f"{target.service} is not there"
        return warning("DRG2003", message, origin.at("name"), label="targets nothing")
    known = [one.name for one in found.spec.spec.ports if one.name]
    if not target.section or target.section in known:
        return None
    return error(
        "DRG1601",
        f"{target.service} has no port `{target.section}`",
        origin.at("sectionName"),
        label=f"ports with names: {', '.join(known) or 'none'}",
        help=complaints.near(target.section, known),
    )


def _conflict(target: Target, winner: Ref, origin: Origin) -> Diagnostic:
    what = f"port {target.section} of {target.service}" if target.section else str(target.service)
    message = f"{what} has an older policy already: {winner}"
    return warning("DRG1210", message, origin, label="not in force here")


def _weigh(verdict: Verdict, lost: list[Diagnostic], idle: list[Diagnostic], targets: int) -> Verdict:
    """A policy in force nowhere is not accepted: others have its targets (`lost`), or nobody (`idle`)."""
    if not lost and not idle:
        return verdict
    accepted = verdict.accepted
    if accepted.status and len(lost) + len(idle) == targets:
        reason = "Conflicted" if lost else "TargetNotFound"
        message = "; ".join(one.message for one in lost or idle)
        accepted = base.Condition("Accepted", False, reason, message)
    return replace(verdict, accepted=accepted, findings=(*verdict.findings, *lost, *idle))


def conditions(verdict: Verdict) -> Iterable[base.Condition]:
    """Those of each ancestor."""
    return verdict.accepted, verdict.resolved
