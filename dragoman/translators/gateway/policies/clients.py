"""ClientPolicies -> the listeners of Gateways and ListenerSets.

Called by `wiring_parents` for each Gateway that is served. What a policy says of TLS goes to listeners that
decrypt, what it says of requests to those that look into them. What a Gateway says itself (`tls.frontend`)
wins on its listeners: its authorities and its mode; names and revoked certificates are still the policy's to
say.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from dragoman.diagnostics import Diagnostic, error, warning
from dragoman.graph.collection import Collection, Context
from dragoman.ir import client, model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators.gateway import clienttrust, rules_clients
from dragoman.translators.gateway.models import client_tls, clientpolicy
from dragoman.translators.gateway.policies import client_settings, merge, stacks

Merged = merge.Merged[clientpolicy.ClientPolicy]

_ANYWHERE: Final = ("proxyProtocol.", "connections.max", "connections.bufferBytes")
_DECRYPTED: Final = ("tls.", "clientValidation.", "timeouts.tlsHandshake")
_SECURED: Final = ("http3.",)
_GATEWAYS_OWN: Final = ("clientValidation.caCertificateRefs", "clientValidation.mode")
_ORDER: Final = list(client.TlsVersion)


@dataclass(frozen=True, slots=True)
class Treated:
    """A Gateway, or what a ListenerSet adds to one, with its clients' settings."""

    gateway: ir.Gateway
    findings: tuple[Diagnostic, ...] = ()


def treat(
    ctx: Context, layers: stacks.Listeners, trust: Collection[Ref, clienttrust.Trust], gateway: ir.Gateway
) -> Treated:
    """The Gateway as the policies in force want it."""
    made: list[ir.GatewayListener] = []
    findings: list[Diagnostic] = []
    for listener in gateway.listeners:
        stack = ctx.fetch(layers, (gateway.ref, listener.name))
        if stack is None or not stack.client or listener.protocol is ir.Protocol.UDP:
            made.append(listener)
            continue
        work = _Listener(ctx, trust, gateway, listener, merge.merge(stack.client), _own(stack, listener))
        made.append(work.treated())
        findings += work.findings
    if all(one is other for one, other in zip(made, gateway.listeners, strict=True)):
        return Treated(gateway)
    return Treated(replace(gateway, listeners=tuple(made)), tuple(dict.fromkeys(findings)))


def _own(stack: stacks.Stack, listener: ir.GatewayListener) -> frozenset[Ref]:
    """The policies that are for this very listener."""
    return frozenset(
        layer.ref
        for layer in stack.client
        if any(target.section_name == listener.name for target in layer.spec.target_refs)
    )


class _Listener:
    """One listener at work."""

    __slots__ = ("_ctx", "_gateway", "_listener", "_merged", "_own", "_trust", "findings")

    def __init__(
        self,
        ctx: Context,
        trust: Collection[Ref, clienttrust.Trust],
        gateway: ir.Gateway,
        listener: ir.GatewayListener,
        merged: Merged,
        own: frozenset[Ref],
    ) -> None:
        self._ctx = ctx
        self._trust = trust
        self._gateway = gateway
        self._listener = listener
        self._merged = merged
        self._own = own
        self.findings: list[Diagnostic] = []

    def treated(self) -> ir.GatewayListener:
        listener = self._listener
        requests = listener.protocol in (ir.Protocol.HTTP, ir.Protocol.HTTPS)
        settings, findings = client_settings.settings(self._merged)
        if requests:
            self.findings += findings
        else:
            settings = replace(settings, http=ir.DEFAULT_CLIENTS.http)
        if listener.protocol is not ir.Protocol.HTTPS:
            settings = replace(settings, http3=None)
        tls, closed = listener.tls, ""
        if tls is not None:
            tls = self._parameters(tls)
            tls, closed = self._clients(tls)
            settings = replace(settings, http3=self._http3(settings.http3, tls))
        if closed:
            settings = replace(settings, closed=closed)
        return replace(listener, tls=tls, client=settings, said=tuple(self._said(requests)))

    def _said(self, requests: bool) -> Iterator[ir.Said]:
        """The fields of policies that are in force on this listener. Where a policy is for this listener
        alone, its fields that make no sense here are reported; one for a whole Gateway may meet all kinds."""
        validation = self._merged.spec.client_validation
        own = self._listener.tls is not None and self._listener.tls.clients is not None
        for one in self._merged.said:
            if one.name.startswith(_DECRYPTED):
                holds = self._listener.tls is not None and not (own and one.name in _GATEWAYS_OWN)
            elif one.name.startswith(_SECURED):
                holds = self._listener.protocol is ir.Protocol.HTTPS
            else:
                holds = requests or one.name in _ANYWHERE or one.name.startswith(_ANYWHERE[0])
            if holds:
                yield one
            elif one.origin.ref in self._own and not own:
                message = f"`{one.name}` has no effect on a listener of protocol {self._spoken()}"
                self.findings.append(warning("DRG3001", message, one.origin))
        if own and validation is not None:
            origin = Origin(self._gateway.gateway, ("spec", "tls", "frontend"))
            for name in _GATEWAYS_OWN:
                yield ir.Said(name, "as the Gateway says", origin)

    def _spoken(self) -> str:
        protocol = self._listener.protocol
        through = protocol is ir.Protocol.TLS and self._listener.tls is None
        return f"{protocol.value} (Passthrough)" if through else protocol.value

    def _parameters(self, tls: ir.TlsTermination) -> ir.TlsTermination:
        """Versions, ciphers, curves, ALPN."""
        wanted = self._merged.spec.tls
        times = self._merged.spec.timeouts
        if times is not None and not times.disabled and times.tls_handshake is not None:
            tls = replace(tls, handshake=times.tls_handshake)
        if wanted is None or wanted.disabled:
            return tls
        minimum = client.TlsVersion(wanted.min_version) if wanted.min_version else tls.minimum
        maximum = client.TlsVersion(wanted.max_version) if wanted.max_version else None
        if maximum is not None and _ORDER.index(minimum) > _ORDER.index(maximum):
            message = f"{minimum.value} at least and {maximum.value} at most leave nothing"
            label = f"not heeded: {minimum.value} is the least"
            self._report(error, "DRG1108", message, ("tls", "maxVersion"), label)
            maximum = None
        ciphers = wanted.ciphers or ()
        if _ORDER.index(minimum) < _ORDER.index(client.TlsVersion.TLS_1_2) and not any(
            name.endswith("-SHA") for entry in ciphers for name in rules_clients.names(entry)
        ):
            message = f"{minimum.value} needs a cipher suite of its age, and `ciphers` has none"
            self._report(warning, "DRG3001", message, ("tls", "minVersion"), "such as ECDHE-RSA-AES128-SHA")
        return replace(
            tls,
            minimum=minimum,
            maximum=maximum,
            ciphers=ciphers,
            curves=wanted.curves or (),
            alpn=tls.alpn if wanted.alpn is None else wanted.alpn,
        )

    def _clients(self, tls: ir.TlsTermination) -> tuple[ir.TlsTermination, str]:
        """Which certificates clients show; and why none is let in, if so."""
        wanted = self._merged.spec.client_validation
        if wanted is None or wanted.disabled:
            return tls, ""
        checks = tls.clients
        if checks is None:
            sayer = self._merged.origin("clientValidation", "caCertificateRefs")
            if sayer is None:
                message = "nothing says whose certificates are valid"
                self._report(
                    error, "DRG1102", message, ("clientValidation",), "`caCertificateRefs` goes here"
                )
                return tls, message
            if flaw := self._flaw(sayer.ref, clienttrust.CA):
                return tls, flaw
            checks = ir.ClientValidation(
                ir.SecretKey(sayer.ref, clienttrust.CA),
                optional=wanted.mode == "AllowInvalid",
                absent=wanted.mode == "Optional",
            )
        if wanted.crl_refs is not None:
            sayer = self._merged.origin("clientValidation", "crlRefs")
            assert sayer is not None
            if flaw := self._flaw(sayer.ref, clienttrust.CRL):
                return tls, flaw
            checks = replace(
                checks, ca=checks.ca._replace(revoked=sayer.ref), leaf_only=wanted.crl_scope == "Leaf"
            )
        names = tuple(map(_name, wanted.subject_alt_names or ()))
        return replace(tls, clients=replace(checks, names=names)), ""

    def _flaw(self, policy: Ref, use: str) -> str:
        found = self._ctx.fetch(self._trust, policy)
        return found.flaw(use) if found is not None else ""

    def _http3(self, wanted: ir.Http3 | None, tls: ir.TlsTermination) -> ir.Http3 | None:
        """HTTP/3 where it can be had."""
        if wanted is None:
            return None
        why = ""
        if tls.clients is not None:
            why = "it cannot ask clients for certificates"
        elif tls.maximum not in (None, client.TlsVersion.TLS_1_3):
            why = "it is TLS 1.3 and nothing older"
        if not why:
            return wanted
        name = f"listener `{self._listener.name}` of {self._gateway.ref}"
        self._report(warning, "DRG1652", f"{name} has no HTTP/3: {why}", ("http3",), "no effect here")
        return None

    def _report(
        self,
        say: Callable[..., Diagnostic],
        code: str,
        message: str,
        path: tuple[str, ...],
        label: str,
    ) -> None:
        origin = self._merged.origin(*path)
        if origin is not None:
            self.findings.append(say(code, message, origin, label=label))


@functools.lru_cache(maxsize=1024)
def _name(one: client_tls.SubjectAltName) -> client.NameMatch:
    kind = client.NameKind(one.type)
    for likeness in client.Likeness:
        value = getattr(one, likeness.value)
        if value is not None:
            return client.NameMatch(kind, likeness, value)
    raise AssertionError(one)  # the rules of decoding see to it


def by_policy(ref: Ref, found: Iterable[Treated]) -> tuple[Diagnostic, ...]:
    """What is to be said of one policy, wherever it is in force."""
    return tuple(dict.fromkeys(one for each in found for one in each.findings if one.ref == ref))
