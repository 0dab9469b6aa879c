"""TLS towards clients, over TCP and over QUIC. Called by `listeners.py`.

Certificates, trusted authorities and lists of revoked certificates come by SDS: renewing them changes no
filter chain and drains no connection. Chains that are resources of their own hold them (`discovered_chains`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dragoman import proto
from dragoman.envoy import durations, secrets, sources
from dragoman.ir import client, model as ir
from dragoman.proto.envoy.config.listener import v3 as listener_proto
from dragoman.proto.envoy.extensions.transport_sockets.quic import v3 as quic_proto
from dragoman.proto.envoy.extensions.transport_sockets.tls import v3 as tls
from dragoman.proto.envoy.type.matcher import v3 as matcher

_VERSIONS: Final = {
    client.TlsVersion.TLS_1_0: tls.TlsParameters.TLSv1_0,
    client.TlsVersion.TLS_1_1: tls.TlsParameters.TLSv1_1,
    client.TlsVersion.TLS_1_2: tls.TlsParameters.TLSv1_2,
    client.TlsVersion.TLS_1_3: tls.TlsParameters.TLSv1_3,
}
_NAMES: Final = {
    client.NameKind.URI: tls.SubjectAltNameMatcher.URI,
    client.NameKind.DNS: tls.SubjectAltNameMatcher.DNS,
    client.NameKind.EMAIL: tls.SubjectAltNameMatcher.EMAIL,
    client.NameKind.ADDRESS: tls.SubjectAltNameMatcher.IP_ADDRESS,
}


def write(
    target: listener_proto.FilterChain,
    termination: ir.TlsTermination,
    *,
    quic: bool,
    held: Mapping[ir.SecretKey, ir.Secret] | None = None,
) -> None:
    """The chain's transport. Envoy picks certificates by server name and key type; the first is the
    default. `held`: the secrets that go into it; None: it names them."""
    context = tls.DownstreamTlsContext()
    common = context.common_tls_context
    for key in termination.certificates:
        if held is None:
            sources.write_secret(common.tls_certificate_sds_secret_configs.add(), key)
        elif key in held:
            secrets.write_certificate(common.tls_certificates.add(), held[key])
    if quic:
        # QUIC is TLS 1.3 and nothing else, and asks for no certificate: the pipeline offers no HTTP/3 where
        # one is wanted.
        common.alpn_protocols.append("h3")
        common.tls_params.ecdh_curves.extend(termination.curves)
        transport = quic_proto.QuicDownstreamTransport(downstream_tls_context=context)
        target.transport_socket.name = "envoy.transport_sockets.quic"
        target.transport_socket.typed_config.CopyFrom(proto.pack_any(transport))
        return
    if termination.clients is not None:
        _check_clients(context, termination.clients, held)
    common.alpn_protocols.extend(termination.alpn)
    parameters = common.tls_params
    parameters.tls_minimum_protocol_version = _VERSIONS[termination.minimum]
    if termination.maximum is not None:
        parameters.tls_maximum_protocol_version = _VERSIONS[termination.maximum]
    parameters.cipher_suites.extend(termination.ciphers)
    parameters.ecdh_curves.extend(termination.curves)
    target.transport_socket.name = "envoy.transport_sockets.tls"
    target.transport_socket.typed_config.CopyFrom(proto.pack_any(context))
    if termination.handshake:
        durations.assign(target.transport_socket_connect_timeout, termination.handshake)


def _check_clients(
    context: tls.DownstreamTlsContext,
    clients: ir.ClientValidation,
    held: Mapping[ir.SecretKey, ir.Secret] | None,
) -> None:
    """Gateway API, FrontendTLSValidation: AllowValidOnly, or `optional` AllowInsecureFallback."""
    context.require_client_certificate.value = not (clients.optional or clients.absent)
    if held is None:
        combined = context.common_tls_context.combined_validation_context
        sources.write_secret(combined.validation_context_sds_secret_config, clients.ca)
        checks = combined.default_validation_context
        checks.SetInParent()  # required, even with nothing to say
    else:
        checks = context.common_tls_context.validation_context
        secrets.write_authorities(checks, held[clients.ca])
    if clients.optional:
        checks.trust_chain_verification = tls.CertificateValidationContext.ACCEPT_UNTRUSTED
    for name in clients.names:
        entry = checks.match_typed_subject_alt_names.add(san_type=_NAMES[name.kind])
        _write_name(entry.matcher, name)
    checks.only_verify_leaf_cert_crl = clients.leaf_only


def _write_name(target: matcher.StringMatcher, name: client.NameMatch) -> None:
    match name.likeness:
        case client.Likeness.EXACT:
            target.exact = name.value
        case client.Likeness.PREFIX:
            target.prefix = name.value
        case client.Likeness.SUFFIX:
            target.suffix = name.value
        case client.Likeness.REGEX:
            target.safe_regex.regex = name.value
