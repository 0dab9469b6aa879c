"""Listeners, their filter chains and the connection manager. Called by the pipeline when a bind changes.
What is not looked into is in `streams.py`.

A listener is a rope like a route table: one piece per filter chain, kept as long as the chain is. The
connection manager is the same for all chains but for the name of its route table; what policies change
goes into routes, since a changed connection manager drains connections. Its settings follow Envoy's
advice for edge proxies; where they go another way, the line says why.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from dragoman import proto, resource
from dragoman.envoy import addresses, clusters, durations, forwarding, framing, naming, sources, streams
from dragoman.envoy.filters import chain as filter_chain
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.config.listener import v3 as listener_proto
from dragoman.proto.envoy.extensions.filters.listener.tls_inspector import v3 as tls_inspector
from dragoman.proto.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from dragoman.proto.envoy.extensions.transport_sockets.tls import v3 as tls

_IDLE_CONNECTION: Final = 3600.0
_REQUEST_HEADERS: Final = 10.0
_STREAMS: Final = 100
_STREAM_WINDOW: Final = 64 * 1024
_CONNECTION_WINDOW: Final = 1024 * 1024
_HCM: Final = "envoy.filters.network.http_connection_manager"


@dataclass(frozen=True, slots=True)
class ChainChunk:
    """One filter chain as a `filter_chains` entry, or a whole UDP listener; and what it refers to. `digest`
    covers all of it."""

    hostname: str
    chunk: bytes = field(repr=False, compare=False)
    digest: str
    by_name: bool
    tables: frozenset[str] = field(compare=False)
    secrets: frozenset[str] = field(compare=False)
    clusters: frozenset[str] = field(compare=False)


def encode(listener: ir.Listener) -> resource.Resource:
    """One LDS resource, made as a whole."""
    return join(listener.bind, [encode_chain(listener.bind, chain) for chain in listener.chains])


def join(bind: ir.Bind, chains: Iterable[ChainChunk]) -> resource.Resource:
    """One LDS resource of chains that are there, with what they refer to."""
    ordered = sorted(chains, key=lambda each: each.hostname)
    head = b"" if bind.udp else _head(bind, any(each.by_name for each in ordered))
    refs = {
        resource.ROUTE: _union(each.tables for each in ordered),
        resource.SECRET: _union(each.secrets for each in ordered),
    }
    if any(each.tables for each in ordered):
        refs[resource.EXTENSION] = resource.NameSet(filter_chain.NAMES)
    if any(each.clusters for each in ordered):
        refs[resource.CLUSTER] = _union(each.clusters for each in ordered)
    return resource.Resource(
        resource.LISTENER,
        naming.listener(bind),
        resource.digest(head, *(each.digest.encode() for each in ordered)),
        (head, *(each.chunk for each in ordered)),
        refs,
    )


def _union(sets: Iterable[frozenset[str]]) -> resource.NameSet:
    return resource.NameSet(frozenset().union(*sets))


def encode_chain(bind: ir.Bind, chain: ir.FilterChain) -> ChainChunk:
    """One filter chain. Envoy keeps the connections of those that stay as they are."""
    stream = chain.stream
    chunk = streams.datagrams(bind, stream) if bind.udp else _chain(bind, chain)
    return ChainChunk(
        chain.hostname,
        chunk,
        resource.digest(chunk),
        _by_server_name(chain),
        frozenset((naming.route_config(chain.scope),) if stream is None else ()),
        frozenset(map(naming.secret, used_secrets(chain))),
        streams.clusters(stream) if stream is not None else frozenset(),
    )


def used_secrets(chain: ir.FilterChain) -> Iterator[ir.SecretKey]:
    """The certificates it shows and the authorities it trusts."""
    if chain.tls is not None:
        yield from chain.tls.certificates
        if chain.tls.clients is not None:
            yield chain.tls.clients.ca


def _by_server_name(chain: ir.FilterChain) -> bool:
    return chain.tls is not None or (chain.stream is not None and chain.stream.passthrough)


@functools.lru_cache(maxsize=1024)
def _head(bind: ir.Bind, inspects_tls: bool) -> bytes:
    """Everything of a listener but its filter chains."""
    message = listener_proto.Listener(name=naming.listener(bind))
    addresses.write(message.address, bind.address, bind.port)
    message.per_connection_buffer_limit_bytes.value = clusters.BUFFER_LIMIT
    if inspects_tls:
        inspector = message.listener_filters.add()
        inspector.name = "envoy.filters.listener.tls_inspector"
        inspector.typed_config.CopyFrom(proto.pack_any(tls_inspector.TlsInspector()))
    return proto.serialize(message)


def _chain(bind: ir.Bind, chain: ir.FilterChain) -> bytes:
    message = listener_proto.FilterChain(name=naming.route_config(chain.scope))
    if _by_server_name(chain):
        message.filter_chain_match.transport_protocol = "tls"
        if chain.hostname:
            message.filter_chain_match.server_names.append(chain.hostname)
    if chain.tls is not None:
        _terminate(message.transport_socket, chain.tls)
    network = message.filters.add()
    if chain.stream is not None:
        streams.write(network, naming.listener(bind), chain.stream)
        return framing.frame(_chain_tag(), proto.serialize(message))
    network.name = _HCM
    network.typed_config.type_url = proto.type_url(hcm.HttpConnectionManager)
    network.typed_config.value = connection_manager(naming.listener(bind), naming.route_config(chain.scope))
    return framing.frame(_chain_tag(), proto.serialize(message))


def _terminate(target: core.TransportSocket, termination: ir.TlsTermination) -> None:
    """TLS towards clients. Envoy picks certificates by server name and key type; the first is the default."""
    context = tls.DownstreamTlsContext()
    common = context.common_tls_context
    for key in termination.certificates:
        sources.write_secret(common.tls_certificate_sds_secret_configs.add(), key)
    if termination.clients is not None:
        _check_clients(context, termination.clients)
    common.alpn_protocols.extend(termination.alpn)
    common.tls_params.tls_minimum_protocol_version = tls.TlsParameters.TLSv1_2
    target.name = "envoy.transport_sockets.tls"
    target.typed_config.CopyFrom(proto.pack_any(context))


def _check_clients(context: tls.DownstreamTlsContext, clients: ir.ClientValidation) -> None:
    """Gateway API, FrontendTLSValidation: AllowValidOnly, or `optional` AllowInsecureFallback."""
    context.require_client_certificate.value = not clients.optional
    combined = context.common_tls_context.combined_validation_context
    sources.write_secret(combined.validation_context_sds_secret_config, clients.ca)
    checks = combined.default_validation_context
    checks.SetInParent()  # required, even with nothing to say
    if clients.optional:
        checks.trust_chain_verification = tls.CertificateValidationContext.ACCEPT_UNTRUSTED


def connection_manager(stat_prefix: str, table: str) -> bytes:
    """The connection manager of one chain: what all share, and the name of its route table."""
    own = hcm.HttpConnectionManager(stat_prefix=stat_prefix)
    own.rds.route_config_name = table
    sources.write_ads(own.rds.config_source)
    return proto.serialize(own) + _same_for_all()


@functools.cache
def _same_for_all() -> bytes:
    manager = hcm.HttpConnectionManager(
        # Clients on trusted networks get no say in x-envoy-* headers either: see use_remote_address.
        merge_slashes=True,
        path_with_escaped_slashes_action=hcm.HttpConnectionManager.UNESCAPE_AND_REDIRECT,
        strip_trailing_host_dot=True,
        # The backend's own Server header, and none where it sends none.
        server_header_transformation=hcm.HttpConnectionManager.PASS_THROUGH,
        # An id that the client brought lets requests be followed through several proxies.
        preserve_external_request_id=True,
    )
    manager.use_remote_address.value = True
    manager.normalize_path.value = True
    common = manager.common_http_protocol_options
    durations.assign(common.idle_timeout, _IDLE_CONNECTION)
    # As nginx: to CGI and WSGI, X_User and X-User are one, so the former would pass for the latter.
    common.headers_with_underscores_action = core.HttpProtocolOptions.DROP_HEADER
    http2 = manager.http2_protocol_options
    http2.max_concurrent_streams.value = _STREAMS
    http2.initial_stream_window_size.value = _STREAM_WINDOW
    http2.initial_connection_window_size.value = _CONNECTION_WINDOW
    durations.assign(manager.stream_idle_timeout, forwarding.STREAM_IDLE)
    durations.assign(manager.request_headers_timeout, _REQUEST_HEADERS)
    manager.upgrade_configs.add().upgrade_type = "websocket"
    filter_chain.write_filters(manager)
    return proto.serialize(manager)


@functools.cache
def _chain_tag() -> bytes:
    return framing.tag("envoy.config.listener.v3.Listener", "filter_chains")
