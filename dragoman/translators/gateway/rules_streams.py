"""Rules of TLSRoute, TCPRoute and UDPRoute that span several fields (the CRDs' CEL validations)."""

from __future__ import annotations

from collections.abc import Iterator

from dragoman.diagnostics import Diagnostic, error
from dragoman.refs import Origin, Ref
from dragoman.translators.gateway import rules_gateway, rules_http
from dragoman.translators.gateway.models import streamroutes as model


def check(ref: Ref, spec: model.StreamRoute | model.TlsRoute) -> Iterator[Diagnostic]:
    """What the API server would refuse."""
    origin = Origin(ref, ("spec",))
    yield from rules_http.distinct(origin.at("parentRefs"), spec.parent_refs)
    if isinstance(spec, model.TlsRoute):
        for at, name in enumerate(spec.hostnames):
            if rules_gateway.is_ip(name):
                message = f"`{name}` is an IP address: TLS has no server name for it"
                yield error("DRG1103", message, origin.at("hostnames", at))
    for index, rule in enumerate(spec.rules):
        for at, wanted in enumerate(rule.backend_refs):
            if wanted.port is None and wanted.kind == "Service" and not wanted.group:
                yield rules_http.no_port(origin.at("rules", index, "backendRefs", at))
