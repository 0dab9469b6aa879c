"""TLS from Envoy to endpoints (Gateway API's BackendTLSPolicy, Dragoman's Backend). Called by `clusters.py`.

A certificate is checked against a chain (the given authority's, or the system's) and against names; only
`insecure` leaves both out. Without a server name Envoy takes the endpoint's host name.
"""

from __future__ import annotations

import functools
import ipaddress
from pathlib import Path
from typing import Final

from dragoman import proto
from dragoman.envoy import sources
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.extensions.transport_sockets.tls import v3 as tls

_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch, Envoy's own images
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)

_VERSIONS: Final = {"1.2": tls.TlsParameters.TLSv1_2, "1.3": tls.TlsParameters.TLSv1_3}
_ALPN: Final = {ir.AppProtocol.HTTP1: "http/1.1", ir.AppProtocol.HTTP2: "h2"}


@functools.cache
def system_bundle() -> str:
    """The file with the system's trusted certificates, on this machine and supposedly on Envoy's."""
    return next((path for path in _BUNDLES if Path(path).is_file()), _BUNDLES[0])


def write(target: core.TransportSocket, settings: ir.UpstreamTls, protocol: ir.AppProtocol) -> set[str]:
    """Fills `target`; returns the names of the secrets that it needs."""
    context = tls.UpstreamTlsContext()
    common = context.common_tls_context
    secrets: set[str] = set()
    if settings.sni:
        context.sni = settings.sni
    else:
        context.auto_host_sni = True
    if settings.certificate is not None:
        secrets.add(
            sources.write_secret(common.tls_certificate_sds_secret_configs.add(), settings.certificate)
        )
    if not settings.insecure:
        secrets |= _validation(context, settings)
    if settings.oldest:
        common.tls_params.tls_minimum_protocol_version = _VERSIONS[settings.oldest]
    # Towards endpoints Envoy's own default is TLS 1.2 at most.
    common.tls_params.tls_maximum_protocol_version = _VERSIONS[settings.newest or "1.3"]
    if protocol in _ALPN:  # AUTO: Envoy offers both by itself
        common.alpn_protocols.append(_ALPN[protocol])
    target.name = "envoy.transport_sockets.tls"
    target.typed_config.CopyFrom(proto.pack_any(context))
    return secrets


def _validation(context: tls.UpstreamTlsContext, settings: ir.UpstreamTls) -> set[str]:
    combined = context.common_tls_context.combined_validation_context
    checks = combined.default_validation_context
    checks.SetInParent()  # required, even with nothing to say
    names = settings.sans or ((settings.sni,) if settings.sni else ())
    for name in names:
        matcher = checks.match_typed_subject_alt_names.add()
        matcher.san_type = _san_type(name)
        matcher.matcher.exact = name
    if not names:
        context.auto_sni_san_validation = True
    if settings.ca is not None:
        return {sources.write_secret(combined.validation_context_sds_secret_config, settings.ca)}
    validation = tls.CertificateValidationContext()
    validation.CopyFrom(checks)
    validation.trusted_ca.filename = system_bundle()
    context.common_tls_context.validation_context.CopyFrom(validation)
    return set()


def _san_type(name: str) -> tls.SubjectAltNameMatcher.SanType:
    if "://" in name:
        return tls.SubjectAltNameMatcher.URI
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return tls.SubjectAltNameMatcher.DNS
    return tls.SubjectAltNameMatcher.IP_ADDRESS
