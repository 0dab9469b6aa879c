"""Gateways as a whole: their listeners together, addresses, certificates, and what comes of it all.

What the Gateway comes to (`Report`) holds the IR, the conditions of the Gateway and of each listener, and
the doors that routes attach to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from dragoman.diagnostics import Diagnostic, error, warning
from dragoman.graph.collection import Collection, Context
from dragoman.ir import model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import (
    attachment,
    classes,
    clientcas,
    listeners,
    names,
    parameters,
    rules_gateway,
    secrets,
)
from dragoman.translators.gateway.models import gateway as model

Addresses = Callable[[Ref], tuple[str, ...]]
"""Where a Gateway that asks for no address is bound."""
Usable = Callable[[str], bool]
"""Whether Envoy can listen on an address."""


@dataclass(frozen=True, slots=True)
class Host:
    """What a ListenerSet sees of its Gateway. `served`: the Gateway itself can be accepted; `claims`: the
    listeners' places, (port, UDP) -> family and host name -> flavour."""

    ours: bool
    served: bool = False
    allowed: model.ListenerNamespaces = field(default_factory=model.ListenerNamespaces)
    addresses: tuple[str, ...] = ()
    age: tuple[str, str] = ("", "")
    certificate: ir.SecretKey | None = None
    claims: Mapping[tuple[int, bool], tuple[ir.Family, Mapping[str, str]]] = field(default_factory=dict)
    spec: model.Gateway | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a Gateway of ours comes to. `gateway` None: nothing of it can be served."""

    gateway: ir.Gateway | None
    conditions: tuple[base.Condition, ...]
    listeners: tuple[listeners.Report, ...]
    doors: attachment.Doors
    addresses: tuple[str, ...]
    findings: tuple[Diagnostic, ...]
    host: Host


@dataclass(frozen=True, slots=True)
class Sources:
    """What judging a Gateway looks at."""

    classes: Collection[Ref, classes.Class]
    parameters: parameters.Sources
    class_names: names.Names
    listeners: listeners.Sources
    addresses: Addresses
    usable: Usable


def judge(ctx: Context, sources: Sources, ref: Ref, item: base.Object[model.Gateway]) -> Report:
    """One Gateway."""
    spec = item.spec
    standing = classes.standing(ctx, sources.classes, sources.class_names, item)
    if not standing.ours:
        return Report(None, (), (), attachment.Doors(False), (), standing.findings, Host(False))
    conflicts = listeners.conflicts(spec.listeners)
    checks = _clients(ctx, sources.listeners, ref, spec)
    reports = tuple(
        listeners.judge(
            ctx,
            sources.listeners,
            Origin(ref, ("spec", "listeners", at)),
            one,
            conflicts.get(at),
            checks.get(one.port, clientcas.NONE),
        )
        for at, one in enumerate(spec.listeners)
    )
    served = tuple(r.listener for r in reports if r.listener is not None)
    findings = [finding for one in reports for finding in one.findings]
    findings += dict.fromkeys(finding for one in checks.values() for finding in one.findings)
    findings += _ineffective(Origin(ref, ("spec",)), spec)
    certificate, lost = _certificate(ctx, sources.listeners, ref, spec)
    if lost is not None:
        findings.append(lost[1])
    own, bad = _parameters(ctx, sources.parameters, ref, spec, standing.parameters)
    if bad is not None:
        findings.append(bad)
    refusal = standing.refusal or _invalid(bad) or _address_types(ref, spec, findings)
    accepted = refusal or _acceptance(ref, reports, findings)
    asked, unusable = _addresses(ref, spec, sources.usable, findings)
    if not any(one.value for one in spec.addresses):
        asked = own.addresses
    programmed = _programmed(accepted, served, unusable)
    made = None
    age = (item.meta.created or "~", ref.id)
    reachable = not (unusable and not asked)
    if accepted.status and served and reachable:
        labels, annotations = _infrastructure(spec)
        made = ir.Gateway(
            ref,
            asked,
            served,
            age,
            Origin(ref, ("spec",)),
            certificate,
            labels=labels,
            annotations=annotations,
        )
    conditions = [accepted, programmed, _resolved(reports, lost)]
    if clientcas.insecure(spec):
        message = "clients without a valid certificate are let in somewhere"
        conditions.append(
            base.Condition("InsecureFrontendValidationMode", True, "ConfigurationChanged", message)
        )
    allowed = spec.allowed_listeners.namespaces if spec.allowed_listeners else model.ListenerNamespaces()
    return Report(
        made,
        tuple(conditions),
        reports,
        attachment.Doors(True, tuple(one.door for one in reports)),
        (asked or sources.addresses(ref)) if reachable and accepted.status else (),
        (*standing.findings, *findings),
        Host(
            True,
            refusal is None and reachable,
            allowed,
            asked,
            age,
            certificate,
            _claims(spec, reports),
            spec if spec.tls is not None else None,
        ),
    )


def _claims(
    spec: model.Gateway, reports: Iterable[listeners.Report]
) -> dict[tuple[int, bool], tuple[ir.Family, Mapping[str, str]]]:
    """The places that the Gateway's own listeners take: those of its ListenerSets come after them."""
    found: dict[tuple[int, bool], tuple[ir.Family, dict[str, str]]] = {}
    for one, report in zip(spec.listeners, reports, strict=True):
        kind = listeners.family(one)
        if report.accepted and kind is not None:
            names = found.setdefault(listeners.place(one), (kind, {}))[1]
            names[listeners.covered(one)] = listeners.flavour(one)
    return dict(found)


def _clients(
    ctx: Context, sources: listeners.Sources, ref: Ref, spec: model.Gateway
) -> dict[int, clientcas.Clients]:
    ports = {one.port for one in spec.listeners if one.protocol == "HTTPS"}
    return {
        port: clientcas.judge(ctx, sources.grants, sources.vault.flaws, ref, spec, port)
        for port in sorted(ports)
    }


def client_certificate(ref: Ref, spec: model.Gateway) -> ir.SecretKey | None:
    """The certificate that the Gateway's proxies show to backends."""
    wanted = spec.tls.backend.client_certificate_ref if spec.tls and spec.tls.backend else None
    return ir.SecretKey(secrets.target(ref.namespace, wanted)) if wanted is not None else None


def _certificate(
    ctx: Context, sources: listeners.Sources, ref: Ref, spec: model.Gateway
) -> tuple[ir.SecretKey | None, tuple[str, Diagnostic] | None]:
    """`client_certificate` if it can be used, else why not."""
    key = client_certificate(ref, spec)
    if key is None:
        return None, None
    origin = Origin(ref, ("spec", "tls", "backend", "clientCertificateRef"))
    problem = listeners.certificate(ctx, sources, ref, key, origin)
    if problem is None:
        return key, None
    reason, finding = problem
    return None, ("InvalidClientCertificateRef" if reason != "RefNotPermitted" else reason, finding)


def _parameters(
    ctx: Context, sources: parameters.Sources, ref: Ref, spec: model.Gateway, of_class: parameters.Parameters
) -> tuple[parameters.Parameters, Diagnostic | None]:
    """The Gateway's own parameters, else its class's; or why its own cannot be used."""
    wanted = spec.infrastructure.parameters_ref if spec.infrastructure is not None else None
    if wanted is None:
        return of_class, None
    target = Ref(wanted.group, wanted.kind, ref.namespace, wanted.name)
    origin = Origin(ref, ("spec", "infrastructure", "parametersRef"))
    found = parameters.read(ctx, sources, target, origin)
    if isinstance(found, Diagnostic):
        return parameters.NONE, found
    return (found if found.addresses else of_class), None


def _infrastructure(
    spec: model.Gateway,
) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    """Labels and annotations for what is generated."""
    given = spec.infrastructure or model.Infrastructure()
    return tuple(sorted(given.labels.items())), tuple(sorted(given.annotations.items()))


def _invalid(bad: Diagnostic | None) -> base.Condition | None:
    return base.Condition("Accepted", False, "InvalidParameters", bad.message) if bad is not None else None


def _address_types(ref: Ref, spec: model.Gateway, findings: list[Diagnostic]) -> base.Condition | None:
    bad = [(at, one) for at, one in enumerate(spec.addresses) if one.type != "IPAddress"]
    for at, one in bad:
        where = Origin(ref, ("spec", "addresses", at, "type"))
        message = f"addresses of type {one.type} are not supported"
        findings.append(error("DRG1203", message, where, label="expected IPAddress"))
    if not bad:
        return None
    types = ", ".join(dict.fromkeys(one.type for _, one in bad))
    return base.Condition(
        "Accepted", False, "UnsupportedAddress", f"addresses of type {types} are not supported"
    )


def _addresses(
    ref: Ref, spec: model.Gateway, usable: Usable, findings: list[Diagnostic]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The addresses asked for that can be used, and those that cannot."""
    good: list[str] = []
    bad: list[str] = []
    for at, one in enumerate(spec.addresses):
        if one.type != "IPAddress" or not one.value:
            continue
        if rules_gateway.is_ip(one.value) and usable(one.value):
            good.append(one.value)
            continue
        bad.append(one.value)
        where = Origin(ref, ("spec", "addresses", at, "value"))
        findings.append(error("DRG1204", f"Envoy cannot listen on address {one.value}", where))
    return tuple(good), tuple(bad)


def _acceptance(
    ref: Ref, reports: tuple[listeners.Report, ...], findings: list[Diagnostic]
) -> base.Condition:
    refused = [report.name for report in reports if not report.conditions[0].status]
    faulty = [report.name for report in reports if report.listener is None]
    if len(refused) == len(reports):
        message = "none of the listeners can be accepted"
        findings.append(error("DRG1208", message, Origin(ref, ("spec", "listeners"))))
        return base.Condition("Accepted", False, "ListenersNotValid", message)
    if faulty:
        message = f"not served: {', '.join(faulty)}; the other listeners are"
        return base.Condition("Accepted", True, "ListenersNotValid", message)
    return base.Condition("Accepted", True, "Accepted", "the Gateway is valid")


def _programmed(
    accepted: base.Condition, served: tuple[ir.GatewayListener, ...], unusable: tuple[str, ...]
) -> base.Condition:
    if not accepted.status:
        return base.Condition("Programmed", False, "Invalid", accepted.message)
    if unusable:
        message = f"Envoy cannot listen on {', '.join(unusable)}"
        return base.Condition("Programmed", False, "AddressNotUsable", message)
    if not served:
        return base.Condition("Programmed", False, "Invalid", "none of the listeners can be served")
    return base.Condition("Programmed", True, "Programmed", "the Gateway is configured")


def _resolved(
    reports: tuple[listeners.Report, ...], certificate: tuple[str, Diagnostic] | None
) -> base.Condition:
    if certificate is not None:
        return base.Condition("ResolvedRefs", False, certificate[0], certificate[1].message)
    lost = [report.name for report in reports if not report.conditions[2].status]
    if lost:
        message = f"references of listeners {', '.join(lost)} lead nowhere"
        return base.Condition("ResolvedRefs", False, "ListenersNotResolved", message)
    return base.Condition("ResolvedRefs", True, "ResolvedRefs", "every reference leads somewhere")


def _ineffective(origin: Origin, spec: model.Gateway) -> Iterable[Diagnostic]:
    """Fields that are read, and change nothing."""
    if spec.default_scope == "All":
        yield warning("DRG3001", "routes attach by parentRefs alone", origin.at("defaultScope"))
