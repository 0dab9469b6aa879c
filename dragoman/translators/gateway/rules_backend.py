"""Rules of Backend that span several fields."""

from __future__ import annotations

from collections.abc import Iterator

from dragoman.diagnostics import Diagnostic, error
from dragoman.refs import Origin, Ref
from dragoman.translators.gateway import rules_gateway
from dragoman.translators.gateway.models import backend as model


def check(ref: Ref, spec: model.Backend) -> Iterator[Diagnostic]:
    """One kind of place per endpoint, sockets not beside host names, and TLS that says whom it trusts."""
    origin = Origin(ref, ("spec",))
    for at, endpoint in enumerate(spec.endpoints):
        yield from _endpoint(origin.at("endpoints", at), endpoint)
    sockets = [at for at, e in enumerate(spec.endpoints) if e.unix]
    if sockets and any(e.hostname for e in spec.endpoints):
        yield error(
            "DRG1108",
            "unix sockets and host names cannot stand in one Backend",
            origin.at("endpoints", sockets[0], "unix"),
            help="make two Backends and weight them in the route",
        )
    if spec.protocol == "Auto" and spec.tls is None:
        yield error(
            "DRG1108",
            "protocol Auto is settled in the TLS handshake, and there is no `tls`",
            origin.at("protocol"),
            help="HTTP1 is spoken without TLS by default; HTTP2 is cleartext HTTP/2",
        )
    if spec.connect_timeout == 0.0:
        where = origin.at("connectTimeout")
        yield error("DRG1104", "`connectTimeout` is out of range", where, label="expected more than 0s")
    if spec.tls is not None:
        yield from _tls(origin.at("tls"), spec.tls)
        yield from _name(origin.at("tls"), spec)


def _endpoint(here: Origin, endpoint: model.Endpoint) -> Iterator[Diagnostic]:
    given = [n for n in ("hostname", "address", "unix") if getattr(endpoint, n)]
    if len(given) != 1:
        message = "an endpoint has exactly one of `hostname`, `address` and `unix`"
        yield error("DRG1108", message, here, label=f"given: {', '.join(given) or 'none'}")
        return
    if endpoint.unix and endpoint.port is not None:
        yield error("DRG1108", "a unix socket has no port", here.at("port"))
    if not endpoint.unix and endpoint.port is None:
        yield error("DRG1102", "`port` is missing", here, label="`port` goes here")
    if endpoint.address and not rules_gateway.is_ip(endpoint.address):
        yield error(
            "DRG1103",
            f"`{endpoint.address}` is not an IP address",
            here.at("address"),
            help="a name goes into `hostname`",
        )
    if endpoint.hostname and rules_gateway.is_ip(endpoint.hostname):
        yield error(
            "DRG1103", f"`{endpoint.hostname}` is an IP address", here.at("hostname"), help="use `address`"
        )


def _tls(here: Origin, tls: model.Tls) -> Iterator[Diagnostic]:
    trusts = bool(tls.ca_certificate_refs) + (tls.well_known_ca_certificates is not None)
    if trusts > 1:
        yield error(
            "DRG1108",
            "caCertificateRefs and wellKnownCACertificates exclude each other",
            here.at("wellKnownCACertificates"),
        )
    if tls.insecure_skip_verify and (trusts or tls.subject_alt_names):
        yield error(
            "DRG1108",
            "insecureSkipVerify trusts anybody; who to trust is also given",
            here.at("insecureSkipVerify"),
        )
    for at, item in enumerate(tls.ca_certificate_refs):
        if item.group or item.kind not in ("ConfigMap", "Secret"):
            where = here.at("caCertificateRefs", at, "kind")
            yield error(
                "DRG2005", f"{item.kind} holds no certificates", where, label="expected ConfigMap or Secret"
            )
    client = tls.client_certificate_ref
    if client is not None and (client.group or client.kind != "Secret"):
        where = here.at("clientCertificateRef", "kind")
        yield error("DRG2005", f"{client.kind} holds no certificates", where, label="expected Secret")


def _name(here: Origin, spec: model.Backend) -> Iterator[Diagnostic]:
    """A certificate is checked against a name; it must be clear which."""
    tls = spec.tls
    if tls is None or tls.insecure_skip_verify or tls.hostname or tls.subject_alt_names:
        return
    if len({e.hostname for e in spec.endpoints if e.hostname}) != 1:
        label = "the endpoints give no single name to check certificates against"
        yield error("DRG1102", "`hostname` is missing", here, label=label)
