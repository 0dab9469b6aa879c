"""Where Envoy finds the rate-limit service: the clusters of who is asked, and of who takes streams.

A `Place` is what the settings say, with the contents of files. Certificates go by SDS, so that new ones leave
the cluster and the calls under way alone. Called by `graph.pipeline.limits` and `envoy.authz`.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from dragoman import proto, resource
from dragoman.envoy import durations, sources
from dragoman.proto.envoy.config.cluster import v3 as cluster_proto
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.extensions.transport_sockets.tls import v3 as tls_proto
from dragoman.proto.envoy.extensions.upstreams.http import v3 as http

_HTTP: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_CONNECT: Final = 1.0


@dataclass(frozen=True, slots=True)
class Trust:
    """TLS to the service. `authority`: certificates in PEM, one of which must stand behind the service's,
    that has the name `name`. `certificate` and `key` (PEM): what Envoys show, if anything."""

    authority: bytes
    name: str
    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """`endpoints` are (address, port); an address may be a name, or `unix:/path` without port."""

    endpoints: tuple[tuple[str, int], ...]
    trust: Trust | None = None


@functools.lru_cache(maxsize=64)
def cluster(name: str, place: Place, service: str = "ratelimit") -> resource.Resource:
    """A cluster of the service. It is asked for its health, as `service`, so that one that ends is not asked
    any more; with several the requests go round."""
    kind = cluster_proto.Cluster.STATIC
    if not all(address.startswith("unix:") or _is_ip(address) for address, _ in place.endpoints):
        kind = cluster_proto.Cluster.STRICT_DNS
    message = cluster_proto.Cluster(name=name, type=kind)
    if kind == cluster_proto.Cluster.STRICT_DNS:
        # Envoy's default is IPv6 wherever a name has any, also where nobody listens there.
        message.dns_lookup_family = cluster_proto.Cluster.V4_PREFERRED
    message.load_assignment.cluster_name = name
    locality = message.load_assignment.endpoints.add()
    for address, port in place.endpoints:
        target = locality.lb_endpoints.add().endpoint.address
        if address.startswith("unix:"):
            target.pipe.path = address.removeprefix("unix:")
        else:
            target.socket_address.address, target.socket_address.port_value = address, port
    durations.assign(message.connect_timeout, _CONNECT)
    options = http.HttpProtocolOptions()
    options.explicit_http_config.http2_protocol_options.SetInParent()
    packed = message.typed_extension_protocol_options[_HTTP]
    packed.type_url, packed.value = proto.type_url(options), proto.serialize(options)
    check = message.health_checks.add()
    for duration, seconds in ((check.timeout, 1.0), (check.interval, 1.0), (check.no_traffic_interval, 1.0)):
        durations.assign(duration, seconds)
    check.unhealthy_threshold.value = check.healthy_threshold.value = 1
    check.grpc_health_check.service_name = service
    message.common_lb_config.healthy_panic_threshold.SetInParent()
    refs = {}
    if place.trust is not None:
        _write_tls(message.transport_socket, place.trust, name)
        refs = {resource.SECRET: tuple(one.name for one in secrets(name, place))}
    return resource.make(resource.CLUSTER, name, proto.serialize(message), refs)


def _certificate(cluster: str) -> str:
    """A secret of a cluster: what is shown. No object has this name (no slash)."""
    return f"{cluster}-certificate"


def _authority(cluster: str) -> str:
    """The other one: who is believed."""
    return f"{cluster}-authority"


def secrets(name: str, place: Place) -> Iterator[resource.Resource]:
    """Whom Envoys believe at the cluster `name`, and the certificate that they show, if there is one."""
    if place.trust is None:
        return
    message = tls_proto.Secret(name=_authority(name))
    message.validation_context.trusted_ca.inline_bytes = place.trust.authority
    yield resource.make(resource.SECRET, message.name, proto.serialize(message), sensitive=True)
    if place.trust.certificate:
        message = tls_proto.Secret(name=_certificate(name))
        message.tls_certificate.certificate_chain.inline_bytes = place.trust.certificate
        message.tls_certificate.private_key.inline_bytes = place.trust.key
        yield resource.make(resource.SECRET, message.name, proto.serialize(message), sensitive=True)


def _write_tls(target: core.TransportSocket, trust: Trust, cluster: str) -> None:
    context = tls_proto.UpstreamTlsContext()
    common = context.common_tls_context
    common.alpn_protocols.append("h2")
    common.tls_params.tls_maximum_protocol_version = tls_proto.TlsParameters.TLSv1_3
    combined = common.combined_validation_context
    authority = combined.validation_context_sds_secret_config
    authority.name = _authority(cluster)
    sources.write_ads(authority.sds_config)
    matcher = combined.default_validation_context.match_typed_subject_alt_names.add()
    ip = _is_ip(trust.name)
    matcher.san_type = (
        tls_proto.SubjectAltNameMatcher.IP_ADDRESS if ip else tls_proto.SubjectAltNameMatcher.DNS
    )
    matcher.matcher.exact = trust.name
    if not ip:
        context.sni = trust.name
    if trust.certificate:
        config = common.tls_certificate_sds_secret_configs.add(name=_certificate(cluster))
        sources.write_ads(config.sds_config)
    target.name = "envoy.transport_sockets.tls"
    target.typed_config.CopyFrom(proto.pack_any(context))


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
