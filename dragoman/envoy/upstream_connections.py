"""How connections to endpoints are made and kept: the protocol spoken, how long and for how much they last,
and the PROXY header. Called by `clusters.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final

from dragoman import proto
from dragoman.envoy import balancing, durations
from dragoman.ir import model as ir, upstream
from dragoman.proto.envoy.config.cluster import v3 as cluster_proto
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.extensions.transport_sockets.proxy_protocol import v3 as proxy_protocol
from dragoman.proto.envoy.extensions.transport_sockets.raw_buffer import v3 as raw_buffer
from dragoman.proto.envoy.extensions.upstreams.http import v3 as http_options

_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_VERSIONS: Final = {
    upstream.ProxyHeader.V1: core.ProxyProtocolConfig.V1,
    upstream.ProxyHeader.V2: core.ProxyProtocolConfig.V2,
}


def write(message: cluster_proto.Cluster, cluster: ir.Cluster) -> None:
    """All but TLS, which must be there already: the PROXY header goes around it."""
    given = cluster.connection
    if cluster.protocol is not ir.AppProtocol.NONE:
        sources = tuple(balancing.hashes(cluster.balancing))
        options = _options(cluster.protocol, given, sources)
        if options:
            entry = message.typed_extension_protocol_options[_HTTP_OPTIONS]
            entry.type_url, entry.value = proto.type_url(_HTTP_OPTIONS), options
    if given is None:
        return
    if given.buffer:
        message.per_connection_buffer_limit_bytes.value = given.buffer
    if given.keepalive is not None:
        _keepalive(message.upstream_connection_options.tcp_keepalive, given.keepalive)
    if given.proxy is not None:
        _proxy(message.transport_socket, given.proxy)


@functools.lru_cache(maxsize=1024)
def _options(
    protocol: ir.AppProtocol, given: upstream.Connection | None, sources: Sequence[upstream.HashSource]
) -> bytes:
    """The HTTP side, as bytes; plain HTTP/1 with nothing to say needs none."""
    options = http_options.HttpProtocolOptions()
    if given is not None:
        _lifetime(options.common_http_protocol_options, given)
    balancing.write_hashes(options, sources)
    if protocol is ir.AppProtocol.HTTP1:
        if not proto.serialize(options):
            return b""
        options.explicit_http_config.http_protocol_options.SetInParent()
        return proto.serialize(options)
    if protocol is ir.AppProtocol.HTTP2:
        target = options.explicit_http_config.http2_protocol_options
    else:
        options.auto_config.http_protocol_options.SetInParent()
        target = options.auto_config.http2_protocol_options
    target.SetInParent()
    if given is not None and given.http2 is not None:
        _http2(target, given.http2)
    return proto.serialize(options)


def _lifetime(target: core.HttpProtocolOptions, given: upstream.Connection) -> None:
    if given.idle is not None:
        durations.assign(target.idle_timeout, given.idle)
    if given.age:
        durations.assign(target.max_connection_duration, given.age)
    if given.requests:
        target.max_requests_per_connection.value = given.requests


def _http2(target: core.Http2ProtocolOptions, given: upstream.Http2) -> None:
    if given.streams is not None:
        target.max_concurrent_streams.value = given.streams
    if given.stream_window is not None:
        target.initial_stream_window_size.value = given.stream_window
    if given.connection_window is not None:
        target.initial_connection_window_size.value = given.connection_window
    if given.ping:
        durations.assign(target.connection_keepalive.interval, given.ping)
        durations.assign(target.connection_keepalive.timeout, given.ping_timeout)


def _keepalive(target: core.TcpKeepalive, given: upstream.Keepalive) -> None:
    target.SetInParent()
    if given.idle:
        target.keepalive_time.value = given.idle
    if given.interval:
        target.keepalive_interval.value = given.interval
    if given.probes:
        target.keepalive_probes.value = given.probes


def _proxy(target: core.TransportSocket, version: upstream.ProxyHeader) -> None:
    around = proxy_protocol.ProxyProtocolUpstreamTransport()
    around.config.version = _VERSIONS[version]
    if target.name:
        around.transport_socket.CopyFrom(target)
    else:
        around.transport_socket.name = "envoy.transport_sockets.raw_buffer"
        around.transport_socket.typed_config.CopyFrom(proto.pack_any(raw_buffer.RawBuffer()))
    target.name = "envoy.transport_sockets.upstream_proxy_protocol"
    target.typed_config.CopyFrom(proto.pack_any(around))
