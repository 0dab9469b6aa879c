"""One listener of a Gateway or a ListenerSet: whether it can be served, and how.

A wrong listener hurts itself alone. What it comes to (`Report`) holds the IR, its conditions and the door
that routes attach to. `gateways` and `listenersets` call this for each of theirs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dragoman.diagnostics import Diagnostic, error, warning
from dragoman.graph.collection import Context
from dragoman.ir import hosts, model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import attachment, clientcas, complaints, grants, keypairs, names, secrets
from dragoman.translators.gateway.models import gateway as model, meta

KINDS: Final[Mapping[ir.Protocol, tuple[str, ...]]] = {
    ir.Protocol.HTTP: ("HTTPRoute", "GRPCRoute"),
    ir.Protocol.HTTPS: ("HTTPRoute", "GRPCRoute"),
    ir.Protocol.TLS: ("TLSRoute",),
    ir.Protocol.TCP: ("TCPRoute",),
    ir.Protocol.UDP: ("UDPRoute",),
}
"""The kinds of routes that a listener can admit."""

_PROTOCOLS: Final = {each.value: each for each in ir.Protocol}
_ALL: Final = ", ".join(_PROTOCOLS)


@dataclass(frozen=True, slots=True)
class Conflict:
    """Why a listener cannot be told from others: the reason of its conditions, and a sentence."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """`conditions` are the four of the specification, in its order."""

    name: str
    kinds: tuple[str, ...]
    conditions: tuple[base.Condition, ...]
    listener: ir.GatewayListener | None
    door: attachment.Door
    findings: tuple[Diagnostic, ...]

    @property
    def accepted(self) -> bool:
        return self.conditions[0].status


@dataclass(frozen=True, slots=True)
class Sources:
    """What judging a listener looks at."""

    grants: grants.Grants
    vault: secrets.Vault
    secret_names: names.Names


def family(listener: model.Listener) -> ir.Family | None:
    """What it can share a port with; None for a protocol that is not known."""
    protocol = _PROTOCOLS.get(listener.protocol)
    return ir.FAMILIES[protocol] if protocol is not None else None


def flavour(listener: model.Listener) -> str:
    """What listeners of one port and host name must have in common, in words."""
    if listener.protocol != "TLS":
        return listener.protocol
    return f"TLS ({listener.tls.mode if listener.tls is not None else 'Terminate'})"


def place(listener: model.Listener) -> tuple[int, bool]:
    """The port; TCP's and UDP's are not the same."""
    return listener.port, listener.protocol == "UDP"


def conflicts(listeners: tuple[model.Listener, ...]) -> dict[int, Conflict]:
    """Listener index -> conflict. All that are in a conflict within one object lose (Gateway, "indistinct
    Listeners").
    """
    spoken: dict[tuple[int, bool], dict[ir.Family, str]] = {}
    flavours: dict[tuple[object, ...], set[str]] = {}
    for one in listeners:
        kind = family(one)
        if kind is not None:
            spoken.setdefault(place(one), {}).setdefault(kind, one.protocol)
            flavours.setdefault((place(one), one.hostname), set()).add(flavour(one))
    counts = Counter((place(one), one.hostname) for one in listeners if family(one) is not None)
    found: dict[int, Conflict] = {}
    for at, one in enumerate(listeners):
        if family(one) is None:
            continue
        here = (place(one), one.hostname)
        if len(spoken[place(one)]) > 1:
            both = " and ".join(sorted(spoken[place(one)].values()))
            found[at] = Conflict("ProtocolConflict", f"port {one.port} is to speak {both}")
        elif len(flavours[here]) > 1:
            both = " and ".join(sorted(flavours[here]))
            found[at] = Conflict("ProtocolConflict", f"{hosts_of(one)} on port {one.port} is to be {both}")
        elif counts[here] > 1:
            message = f"several listeners serve {hosts_of(one)} on port {one.port}"
            found[at] = Conflict("HostnameConflict", message)
    return found


def hosts_of(listener: model.Listener) -> str:
    """The hosts that it serves, in words."""
    return f"host {listener.hostname}" if listener.hostname else "every host"


def judge(
    ctx: Context,
    sources: Sources,
    origin: Origin,
    listener: model.Listener,
    conflict: Conflict | None,
    clients: clientcas.Clients,
) -> Report:
    """The listener at `origin`."""
    work = _Judgement(ctx, sources, origin, listener, conflict, clients)
    return work.report()


class _Judgement:
    """One listener at work."""

    __slots__ = ("_clients", "_conflict", "_ctx", "_listener", "_origin", "_protocol", "_sources", "findings")

    def __init__(
        self,
        ctx: Context,
        sources: Sources,
        origin: Origin,
        listener: model.Listener,
        conflict: Conflict | None,
        clients: clientcas.Clients,
    ) -> None:
        self._ctx = ctx
        self._sources = sources
        self._origin = origin
        self._listener = listener
        self._protocol = _PROTOCOLS.get(listener.protocol)
        self._conflict = conflict
        # Only requests are tied to a client's certificate (FrontendTLSConfig speaks of HTTPS).
        self._clients = clients if self._protocol is ir.Protocol.HTTPS else clientcas.NONE
        self.findings: list[Diagnostic] = []

    def report(self) -> Report:
        listener = self._listener
        kinds, kinds_condition = self._kinds()
        accepted = self._accepted()
        certificates, tls_condition = self._certificates()
        resolved = tls_condition or self._clients.resolved or kinds_condition
        terminated = not self._terminates or bool(certificates)
        if accepted.status and kinds and terminated:
            programmed = base.Condition("Programmed", True, "Programmed", "the listener is configured")
        else:
            why = accepted.message if not accepted.status else resolved.message if resolved else ""
            programmed = base.Condition("Programmed", False, "Invalid", why)
        conflicted = base.Condition("Conflicted", False, "NoConflicts", "no other listener is in its way")
        if self._conflict is not None:
            conflicted = base.Condition("Conflicted", True, self._conflict.reason, self._conflict.message)
        resolved = resolved or base.Condition(
            "ResolvedRefs", True, "ResolvedRefs", "every reference leads somewhere"
        )
        return Report(
            listener.name,
            kinds,
            (accepted, programmed, resolved, conflicted),
            self._made(certificates) if programmed.status else None,
            attachment.Door(
                listener.name,
                listener.port,
                listener.hostname or "",
                kinds,
                listener.allowed_routes.namespaces,
                self._protocol is ir.Protocol.TLS and not self._terminates,
            ),
            tuple(self.findings),
        )

    @property
    def _terminates(self) -> bool:
        tls = self._listener.tls
        return self._listener.protocol == "HTTPS" or (
            self._listener.protocol == "TLS" and (tls is None or tls.mode != "Passthrough")
        )

    def _made(self, certificates: tuple[ir.SecretKey, ...]) -> ir.GatewayListener:
        listener = self._listener
        assert self._protocol is not None
        tls = None
        if self._protocol is ir.Protocol.HTTPS:
            tls = ir.TlsTermination(certificates, clients=self._clients.validation)
        elif self._terminates:
            tls = ir.TlsTermination(certificates, ())
        return ir.GatewayListener(
            listener.name, listener.port, self._protocol, listener.hostname or "", tls, self._origin
        )

    def _accepted(self) -> base.Condition:
        listener = self._listener
        if self._protocol is None:
            message = f"protocol {listener.protocol} is not supported"
            hint = (
                complaints.near(listener.protocol.upper(), _PROTOCOLS) if listener.protocol.isalpha() else ""
            )
            where = self._origin.at("protocol")
            self.findings.append(error("DRG1201", message, where, label=f"expected one of {_ALL}", help=hint))
            return base.Condition("Accepted", False, "UnsupportedProtocol", message)
        if self._conflict is not None:
            conflict = self._conflict
            label = "not served: it must be clear which listener a request is for"
            where = self._origin.at("protocol" if conflict.reason == "ProtocolConflict" else "hostname")
            self.findings.append(error("DRG1202", conflict.message, where, label=label))
            return base.Condition("Accepted", False, conflict.reason, conflict.message)
        if self._clients.refused is not None:
            return self._clients.refused
        return base.Condition("Accepted", True, "Accepted", "the listener is valid")

    def _kinds(self) -> tuple[tuple[str, ...], base.Condition | None]:
        """The kinds of routes that the listener admits, of those that we support."""
        if self._protocol is None:
            return (), None
        wanted = self._listener.allowed_routes.kinds
        known = KINDS[self._protocol]
        if not wanted:
            return known, None
        kept: list[str] = []
        bad: list[str] = []
        for at, one in enumerate(wanted):
            if one.group == meta.GATEWAY_GROUP and one.kind in known:
                kept.append(one.kind)
                continue
            bad.append(f"{one.kind} of {one.group or 'the core group'}")
            self.findings.append(
                error(
                    "DRG1206",
                    f"routes of kind {bad[-1]} cannot stand on a listener of protocol {self._protocol.value}",
                    self._origin.at("allowedRoutes", "kinds", at),
                    label=f"supported: {', '.join(known)}",
                )
            )
        kinds = tuple(dict.fromkeys(kept))
        if not bad:
            return kinds, None
        message = f"routes of kind {', '.join(bad)} are not supported"
        return kinds, base.Condition("ResolvedRefs", False, "InvalidRouteKinds", message)

    def _certificates(self) -> tuple[tuple[ir.SecretKey, ...], base.Condition | None]:
        """The certificates that can be used; a condition if some cannot."""
        tls = self._listener.tls
        if not self._terminates:
            if tls is not None and tls.certificate_refs:
                message = "TLS that passes through needs no certificate here"
                self.findings.append(warning("DRG3001", message, self._origin.at("tls", "certificateRefs")))
            return (), None
        if tls is None or not tls.certificate_refs:
            article = "an HTTPS" if self._protocol is ir.Protocol.HTTPS else "a TLS"
            message = f"{article} listener needs a certificate"
            self.findings.append(
                error("DRG1207", message, self._origin.at("tls"), label="`certificateRefs` goes here")
            )
            return (), base.Condition("ResolvedRefs", False, "InvalidCertificateRef", message)
        for option in tls.options:
            where = self._origin.at("tls", "options", option)
            self.findings.append(
                warning("DRG3001", f"TLS option {option} is not known and has no effect", where)
            )
        usable: list[ir.SecretKey] = []
        bad: list[tuple[str, Diagnostic]] = []
        for at, wanted in enumerate(tls.certificate_refs):
            key = ir.SecretKey(secrets.target(self._origin.ref.namespace, wanted))
            problem = certificate(
                self._ctx, self._sources, self._origin.ref, key, self._origin.at("tls", "certificateRefs", at)
            )
            if problem is None:
                usable.append(key)
            else:
                bad.append(problem)
        self.findings += [finding for _, finding in bad]
        if not bad:
            return tuple(dict.fromkeys(usable)), None
        message = "; ".join(finding.message for _, finding in bad)
        return tuple(dict.fromkeys(usable)), base.Condition("ResolvedRefs", False, bad[0][0], message)


def certificate(
    ctx: Context, sources: Sources, holder: Ref, key: ir.SecretKey, origin: Origin
) -> tuple[str, Diagnostic] | None:
    """Reason and finding, if the certificate at `origin` of `holder` cannot be used."""
    target = key.ref
    if (target.group, target.kind) != (meta.CORE_GROUP, "Secret"):
        message = f"certificates come from Secrets, not from kind {target.kind}"
        return "InvalidCertificateRef", error("DRG2005", message, origin.at("kind"), label="expected Secret")
    if not grants.permitted(ctx, sources.grants, holder, target):
        message = f"{holder.kind} {holder.id} may not refer to {target}"
        hint = grants.hint(holder, target)
        return "RefNotPermitted", error("DRG2006", message, origin.at("namespace"), help=hint)
    flaw = ctx.fetch(sources.vault.flaws, key)
    if flaw is None:
        return None
    return "InvalidCertificateRef", _unusable(ctx, sources, flaw, target, origin)


def _unusable(ctx: Context, sources: Sources, flaw: keypairs.Flaw, target: Ref, origin: Origin) -> Diagnostic:
    if flaw.code == "DRG2007":
        hint = names.hint(ctx, sources.secret_names, target)
        return error("DRG2007", f"{target} is not there, or not usable", origin.at("name"), help=hint)
    return error("DRG2007", f"{target} cannot be used: {flaw.message}", origin.at("name"))


def covered(listener: model.Listener) -> str:
    """Its host name as keys have it."""
    return listener.hostname or hosts.ANY
