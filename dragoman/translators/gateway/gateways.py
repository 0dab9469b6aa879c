"""Gateways: which of their listeners can be served, and how; conflicts, certificates, addresses.

A wrong listener hurts itself alone. What the Gateway comes to (`Report`) holds the IR, the conditions
of the Gateway and of each listener, and the doors that routes attach to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from dragoman.diagnostics import Diagnostic, error, warning
from dragoman.graph.collection import Collection, Context
from dragoman.ir import model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import (
    attachment,
    classes,
    complaints,
    grants,
    keypairs,
    names,
    rules_gateway,
    secrets,
)
from dragoman.translators.gateway.models import gateway as model
from dragoman.translators.gateway.models import meta

ROUTE_KINDS: Final = ("HTTPRoute",)
_PROTOCOLS: Final = {"HTTP": ir.Protocol.HTTP, "HTTPS": ir.Protocol.HTTPS}

Addresses = Callable[[Ref], tuple[str, ...]]
"""Where a Gateway that asks for no address is bound."""
Usable = Callable[[str], bool]
"""Whether Envoy can listen on an address."""


@dataclass(frozen=True, slots=True)
class ListenerReport:
    """`conditions` are the four of the specification, in its order."""

    name: str
    kinds: tuple[str, ...]
    conditions: tuple[base.Condition, ...]
    listener: ir.GatewayListener | None


@dataclass(frozen=True, slots=True)
class Report:
    """What a Gateway of ours comes to. `gateway` None: nothing of it can be served."""

    gateway: ir.Gateway | None
    conditions: tuple[base.Condition, ...]
    listeners: tuple[ListenerReport, ...]
    doors: attachment.Doors
    addresses: tuple[str, ...]
    findings: tuple[Diagnostic, ...]


@dataclass(frozen=True, slots=True)
class Sources:
    """What judging a Gateway looks at."""

    classes: Collection[Ref, classes.Class]
    class_names: names.Names
    grants: grants.Grants
    vault: secrets.Vault
    secret_names: names.Names
    addresses: Addresses
    usable: Usable


NOT_OURS: Final = Report(None, (), (), attachment.Doors(False), (), ())


def judge(ctx: Context, sources: Sources, ref: Ref, item: base.Object[model.Gateway]) -> Report:
    """One Gateway."""
    spec = item.spec
    standing = classes.standing(ctx, sources.classes, sources.class_names, item)
    if not standing.ours:
        return Report(None, (), (), attachment.Doors(False), (), standing.findings)
    conflicts = _conflicts(spec.listeners)
    judged = [_Judgement(ctx, sources, ref, spec, at, conflicts.get(at)) for at in range(len(spec.listeners))]
    reports = tuple(one.report() for one in judged)
    served = tuple(r.listener for r in reports if r.listener is not None)
    findings = [finding for one in judged for finding in one.findings]
    findings += _ineffective(Origin(ref, ("spec",)), spec)
    refusal = standing.refusal or _parameters(ref, spec, findings) or _address_types(ref, spec, findings)
    accepted = refusal or _acceptance(ref, reports, findings)
    asked, unusable = _addresses(ref, spec, sources.usable, findings)
    programmed = _programmed(accepted, served, unusable)
    made = None
    if accepted.status and served and not (unusable and not asked):
        origin = Origin(ref, ("spec",))
        made = ir.Gateway(ref, asked, served, (item.meta.created or "~", ref.id), origin)
    doors = tuple(
        attachment.Door(one.name, one.port, one.hostname or "", report.kinds, one.allowed_routes.namespaces)
        for one, report in zip(spec.listeners, reports, strict=True)
    )
    return Report(
        made,
        (accepted, programmed, _resolved(reports)),
        reports,
        attachment.Doors(True, doors),
        (asked or sources.addresses(ref)) if made is not None else (),
        (*standing.findings, *findings),
    )


def _conflicts(listeners: tuple[model.Listener, ...]) -> dict[int, tuple[str, str]]:
    """Listener index -> reason and message. All that are in a conflict lose (Gateway, "indistinct
    Listeners").
    """
    protocols: dict[int, set[str]] = {}
    for one in listeners:
        if one.protocol in _PROTOCOLS:
            protocols.setdefault(one.port, set()).add(one.protocol)
    places = Counter((one.port, one.protocol, one.hostname) for one in listeners)
    found: dict[int, tuple[str, str]] = {}
    for at, one in enumerate(listeners):
        if one.protocol not in _PROTOCOLS:
            continue
        if len(protocols[one.port]) > 1:
            found[at] = ("ProtocolConflict", f"port {one.port} is to speak both HTTP and HTTPS")
        elif places[one.port, one.protocol, one.hostname] > 1:
            served = f"host {one.hostname}" if one.hostname else "every host"
            found[at] = ("HostnameConflict", f"several listeners serve {served} on port {one.port}")
    return found


class _Judgement:
    """One listener at work."""

    __slots__ = ("_conflict", "_ctx", "_listener", "_origin", "_ref", "_sources", "_spec", "findings")

    def __init__(
        self,
        ctx: Context,
        sources: Sources,
        ref: Ref,
        spec: model.Gateway,
        at: int,
        conflict: tuple[str, str] | None,
    ) -> None:
        self._ctx = ctx
        self._sources = sources
        self._ref = ref
        self._spec = spec
        self._listener = spec.listeners[at]
        self._conflict = conflict
        self._origin = Origin(ref, ("spec", "listeners", at))
        self.findings: list[Diagnostic] = []

    def report(self) -> ListenerReport:
        listener = self._listener
        kinds, kinds_condition = self._kinds()
        accepted = self._accepted()
        certificates, tls_condition = self._certificates()
        resolved = tls_condition or kinds_condition
        serves = accepted.status and bool(kinds) and (listener.protocol == "HTTP" or bool(certificates))
        if serves:
            programmed = base.Condition("Programmed", True, "Programmed", "the listener is configured")
        else:
            why = accepted.message if not accepted.status else resolved.message if resolved else ""
            programmed = base.Condition("Programmed", False, "Invalid", why)
        conflicted = base.Condition("Conflicted", False, "NoConflicts", "no other listener is in its way")
        if self._conflict is not None:
            conflicted = base.Condition("Conflicted", True, *self._conflict)
        made = None
        if serves:
            tls = ir.TlsTermination(certificates) if listener.protocol == "HTTPS" else None
            protocol = _PROTOCOLS[listener.protocol]
            made = ir.GatewayListener(
                listener.name, listener.port, protocol, listener.hostname or "", tls, self._origin
            )
        resolved = resolved or base.Condition(
            "ResolvedRefs", True, "ResolvedRefs", "every reference leads somewhere"
        )
        return ListenerReport(listener.name, kinds, (accepted, programmed, resolved, conflicted), made)

    def _accepted(self) -> base.Condition:
        listener = self._listener
        if listener.protocol not in _PROTOCOLS:
            message = f"protocol {listener.protocol} is not supported"
            hint = (
                complaints.near(listener.protocol.upper(), _PROTOCOLS) if listener.protocol.isalpha() else ""
            )
            where = self._origin.at("protocol")
            self.findings.append(error("DRG1201", message, where, label="expected HTTP or HTTPS", help=hint))
            return base.Condition("Accepted", False, "UnsupportedProtocol", message)
        if self._conflict is not None:
            reason, message = self._conflict
            label = "neither is served: it must be clear which listener a request is for"
            where = self._origin.at("protocol" if reason == "ProtocolConflict" else "hostname")
            self.findings.append(error("DRG1202", message, where, label=label))
            return base.Condition("Accepted", False, reason, message)
        if listener.protocol == "HTTPS" and _validates_clients(self._spec, listener.port):
            message = (
                "client certificates cannot be checked yet, and without that check the listener would be open"
            )
            path = ("spec", "tls", "frontend")
            self.findings.append(error("DRG1207", message, Origin(self._ref, path)))
            return base.Condition("Accepted", False, "UnsupportedValue", message)
        return base.Condition("Accepted", True, "Accepted", "the listener is valid")

    def _kinds(self) -> tuple[tuple[str, ...], base.Condition | None]:
        """The kinds of routes that the listener admits, of those that we support."""
        if self._listener.protocol not in _PROTOCOLS:
            return (), None
        wanted = self._listener.allowed_routes.kinds
        if not wanted:
            return ROUTE_KINDS, None
        kept: list[str] = []
        bad: list[str] = []
        for at, one in enumerate(wanted):
            if one.group == meta.GATEWAY_GROUP and one.kind in ROUTE_KINDS:
                kept.append(one.kind)
                continue
            bad.append(f"{one.kind} of {one.group or 'the core group'}")
            self.findings.append(
                error(
                    "DRG1206",
                    f"routes of kind {bad[-1]} are not supported",
                    self._origin.at("allowedRoutes", "kinds", at),
                    label=f"supported: {', '.join(ROUTE_KINDS)}",
                )
            )
        kinds = tuple(dict.fromkeys(kept))
        if not bad:
            return kinds, None
        message = f"routes of kind {', '.join(bad)} are not supported"
        return kinds, base.Condition("ResolvedRefs", False, "InvalidRouteKinds", message)

    def _certificates(self) -> tuple[tuple[ir.SecretKey, ...], base.Condition | None]:
        """The certificates that can be used; a condition if some cannot."""
        listener = self._listener
        if listener.protocol != "HTTPS":
            return (), None
        if listener.tls is None or not listener.tls.certificate_refs:
            message = "an HTTPS listener needs a certificate"
            self.findings.append(
                error("DRG1207", message, self._origin.at("tls"), label="`certificateRefs` goes here")
            )
            return (), base.Condition("ResolvedRefs", False, "InvalidCertificateRef", message)
        for option in listener.tls.options:
            where = self._origin.at("tls", "options", option)
            self.findings.append(
                warning("DRG3001", f"TLS option {option} is not known and has no effect", where)
            )
        usable: list[ir.SecretKey] = []
        bad: list[tuple[str, Diagnostic]] = []
        for at, wanted in enumerate(listener.tls.certificate_refs):
            key = ir.SecretKey(secrets.target(self._ref.namespace, wanted))
            problem = self._certificate(key, self._origin.at("tls", "certificateRefs", at))
            if problem is None:
                usable.append(key)
            else:
                bad.append(problem)
        self.findings += [finding for _, finding in bad]
        if not bad:
            return tuple(dict.fromkeys(usable)), None
        message = "; ".join(finding.message for _, finding in bad)
        return tuple(dict.fromkeys(usable)), base.Condition("ResolvedRefs", False, bad[0][0], message)

    def _certificate(self, key: ir.SecretKey, origin: Origin) -> tuple[str, Diagnostic] | None:
        """Reason and finding, if a certificateRef cannot be used."""
        target = key.ref
        if (target.group, target.kind) != (meta.CORE_GROUP, "Secret"):
            message = f"certificates come from Secrets, not from kind {target.kind}"
            return "InvalidCertificateRef", error(
                "DRG2005", message, origin.at("kind"), label="expected Secret"
            )
        if not grants.permitted(self._ctx, self._sources.grants, self._ref, target):
            message = f"Gateway {self._ref.id} may not refer to {target}"
            hint = grants.hint(self._ref, target)
            return "RefNotPermitted", error("DRG2006", message, origin.at("namespace"), help=hint)
        flaw = self._ctx.fetch(self._sources.vault.flaws, key)
        return None if flaw is None else ("InvalidCertificateRef", self._unusable(flaw, target, origin))

    def _unusable(self, flaw: keypairs.Flaw, target: Ref, origin: Origin) -> Diagnostic:
        if flaw.code == "DRG2007":
            hint = names.hint(self._ctx, self._sources.secret_names, target)
            return error("DRG2007", f"{target} is not there, or not usable", origin.at("name"), help=hint)
        return error("DRG2007", f"{target} cannot be used: {flaw.message}", origin.at("name"))


# --- the Gateway as a whole ---------------------------------------------------------------------------


def _validates_clients(spec: model.Gateway, port: int) -> bool:
    """Whether the Gateway asks for clients' certificates on this port."""
    frontend = spec.tls.frontend if spec.tls is not None else None
    if frontend is None:
        return False
    own = next((one.tls for one in frontend.per_port if one.port == port), frontend.default)
    return own.validation is not None


def _parameters(ref: Ref, spec: model.Gateway, findings: list[Diagnostic]) -> base.Condition | None:
    if spec.infrastructure is None or spec.infrastructure.parameters_ref is None:
        return None
    message = "there are no parameters for a Gateway"
    findings.append(error("DRG1205", message, Origin(ref, ("spec", "infrastructure", "parametersRef"))))
    return base.Condition("Accepted", False, "InvalidParameters", message)


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


def _acceptance(ref: Ref, reports: tuple[ListenerReport, ...], findings: list[Diagnostic]) -> base.Condition:
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


def _resolved(reports: tuple[ListenerReport, ...]) -> base.Condition:
    lost = [report.name for report in reports if not report.conditions[2].status]
    if lost:
        message = f"references of listeners {', '.join(lost)} lead nowhere"
        return base.Condition("ResolvedRefs", False, "ListenersNotResolved", message)
    return base.Condition("ResolvedRefs", True, "ResolvedRefs", "every reference leads somewhere")


def _ineffective(origin: Origin, spec: model.Gateway) -> Iterable[Diagnostic]:
    """Fields that are read, and change nothing."""
    infrastructure = spec.infrastructure
    if infrastructure is not None and (infrastructure.labels or infrastructure.annotations):
        yield warning(
            "DRG3001",
            "no infrastructure is made for a Gateway that could be labelled",
            origin.at("infrastructure"),
        )
    if spec.tls is not None and spec.tls.backend is not None:
        yield warning(
            "DRG3001",
            "the Gateway's client certificate is not shown to backends",
            origin.at("tls", "backend"),
            help="a Backend has `tls.clientCertificateRef`",
        )
    if spec.allowed_listeners is not None and spec.allowed_listeners.namespaces.from_ != "None":
        yield warning("DRG3001", "ListenerSets are not read", origin.at("allowedListeners"))
    if spec.default_scope == "All":
        yield warning("DRG3001", "routes attach by parentRefs alone", origin.at("defaultScope"))
