"""Listeners and their filter chains. Called by the pipeline when a bind changes. What is not looked into is
in `streams.py`, TLS in `downstream_tls.py`, requests in `connection_manager.py`.

A listener is a rope like a route table: one piece per filter chain, kept as long as the chain is. HTTP/3 is
a second listener, over UDP on the same port, with the chains that offer it.

Envoy looks at all chains of a listener whenever one comes or goes, with all that is in them. So chains for
one server name among many have their connection manager beside them, as a resource that they name (ECDS).
It keeps that name when it changes, so that Envoy goes on with the former one if it refuses the new. The
chain says which version it was made for, and so changes too: its connections are drained, as those of any
changed chain are, and do not go on with former settings for as long as they last.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from dragoman import proto, resource
from dragoman.envoy import (
    addresses,
    clusters,
    connection_manager,
    downstream_tls,
    framing,
    naming,
    shape,
    sources,
    streams,
)
from dragoman.envoy.filters import chain as filter_chain
from dragoman.envoy.scoping import Cut
from dragoman.ir import client, model as ir
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.config.listener import v3 as listener_proto
from dragoman.proto.envoy.extensions.filters.listener.proxy_protocol import v3 as proxy_protocol
from dragoman.proto.envoy.extensions.filters.listener.tls_inspector import v3 as tls_inspector
from dragoman.proto.envoy.extensions.filters.network.connection_limit import v3 as connection_limit
from dragoman.proto.envoy.extensions.filters.network.http_connection_manager import v3 as hcm

METADATA: Final = "dragoman"
"""Under which chains say which version of their connection manager they were made for."""

_QUIC_STREAMS: Final = 100
_QUIC_STREAM_WINDOW: Final = 64 * 1024
_QUIC_CONNECTION_WINDOW: Final = 1024 * 1024
_PROXY_VERSIONS: Final = {
    client.ProxyVersion.V1: core.ProxyProtocolConfig.V1,
    client.ProxyVersion.V2: core.ProxyProtocolConfig.V2,
}


@dataclass(frozen=True, slots=True)
class ChainChunk:
    """One filter chain as a `filter_chains` entry, or a whole UDP listener; and what it refers to. `digest`
    covers all of it, also the connection manager that stands beside it."""

    hostname: str
    chunk: bytes = field(repr=False, compare=False)
    digest: str
    by_name: bool
    quic: bool
    tables: frozenset[str] = field(compare=False)
    scopes: frozenset[str] = field(compare=False)
    secrets: frozenset[str] = field(compare=False)
    clusters: frozenset[str] = field(compare=False)
    manager: resource.Resource | None = field(default=None, repr=False, compare=False)


def encode(listener: ir.Listener) -> resource.Resource:
    """One LDS resource, made as a whole, with everything in it."""
    return join(
        listener.bind, [encode_chain(listener.bind, chain) for chain in listener.chains], listener.settings
    )


def join(
    bind: ir.Bind, chains: Iterable[ChainChunk], settings: client.PortSettings = ir.DEFAULT_CLIENTS.port
) -> resource.Resource:
    """One LDS resource of chains that are there, with what they refer to."""
    ordered = sorted(chains, key=lambda each: each.hostname)
    if not bind.udp:
        head = encode_head(bind, any(each.by_name for each in ordered), settings)
    else:
        head = _quic_head(bind, settings) if any(each.quic for each in ordered) else b""
    refs = {
        resource.ROUTE: _union(each.tables for each in ordered),
        resource.SECRET: _union(each.secrets for each in ordered),
    }
    if any(each.scopes for each in ordered):
        refs[resource.SCOPE] = _union(each.scopes for each in ordered)
    if any(each.tables or each.scopes for each in ordered):
        managers = frozenset(each.manager.name for each in ordered if each.manager is not None)
        refs[resource.EXTENSION] = resource.NameSet(filter_chain.NAMES, managers)
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


def encode_chain(
    bind: ir.Bind,
    chain: ir.FilterChain,
    *,
    cut: Cut = Cut.WHOLE,
    lazy: bool = False,
    apart: bool = False,
) -> ChainChunk:
    """One filter chain. Envoy keeps the connections of those that stay as they are. `cut`: how its table
    is. `lazy`: clusters are fetched at the first request for them. `apart`: its connection
    manager stands beside it, if it is for one server name."""
    stream = chain.stream
    datagrams = bind.udp and not chain.quic
    manager = _manager(bind, chain, cut, lazy) if apart and _can_stand_apart(chain) else None
    chunk = streams.datagrams(bind, stream) if datagrams else _chain(bind, chain, cut, lazy, manager)
    table = naming.route_config(chain.scope)
    return ChainChunk(
        chain.hostname,
        chunk,
        resource.digest(chunk),
        by_server_name(chain),
        chain.quic,
        frozenset((table,) if stream is None and not cut else ()),
        shape.scopes(table, cut) if stream is None else frozenset(),
        frozenset(map(naming.secret, used_secrets(chain))),
        streams.clusters(stream) if stream is not None else frozenset(),
        manager,
    )


def _can_stand_apart(chain: ir.FilterChain) -> bool:
    """Envoy wants to see the connection manager of HTTP/3 in its chain. Plain HTTP has one chain only."""
    return chain.tls is not None and chain.stream is None and not chain.quic


def _manager(bind: ir.Bind, chain: ir.FilterChain, cut: Cut, lazy: bool) -> resource.Resource:
    table = naming.route_config(chain.scope)
    return connection_manager.discovered(
        lambda version: naming.manager(chain.scope, cut.mark, version),
        naming.listener(bind),
        table,
        chain.client.http,
        cut,
        shape.scopes(table, cut),
        lazy=lazy,
    )


def used_secrets(chain: ir.FilterChain) -> Iterator[ir.SecretKey]:
    """The certificates it shows and the authorities it trusts."""
    if chain.tls is not None:
        yield from chain.tls.certificates
        if chain.tls.clients is not None:
            yield chain.tls.clients.ca


def by_server_name(chain: ir.FilterChain) -> bool:
    """Whether it is for connections that begin with TLS, ours or somebody else's."""
    return chain.tls is not None or (chain.stream is not None and chain.stream.passthrough)


@functools.lru_cache(maxsize=1024)
def encode_head(bind: ir.Bind, inspects_tls: bool, settings: client.PortSettings) -> bytes:
    """Everything of a listener but its filter chains."""
    message = listener_proto.Listener(name=naming.listener(bind))
    addresses.write(message.address, bind.address, bind.port)
    message.per_connection_buffer_limit_bytes.value = settings.buffer or clusters.BUFFER_LIMIT
    if settings.proxy_protocol is not None:  # it comes before anything else on a connection
        _proxy_protocol(message.listener_filters.add(), settings.proxy_protocol)
    if inspects_tls:
        inspector = message.listener_filters.add()
        inspector.name = "envoy.filters.listener.tls_inspector"
        inspector.typed_config.CopyFrom(proto.pack_any(tls_inspector.TlsInspector()))
    return proto.serialize(message)


@functools.lru_cache(maxsize=1024)
def _quic_head(bind: ir.Bind, settings: client.PortSettings) -> bytes:
    """The same of a listener for HTTP/3. Its limits are those of HTTP/2 by default."""
    message = listener_proto.Listener(name=naming.listener(bind))
    addresses.write(message.address, bind.address, bind.port)
    message.address.socket_address.protocol = core.SocketAddress.UDP
    message.per_connection_buffer_limit_bytes.value = settings.buffer or clusters.BUFFER_LIMIT
    message.udp_listener_config.downstream_socket_config.prefer_gro.value = True
    options = message.udp_listener_config.quic_options.quic_protocol_options
    options.max_concurrent_streams.value = _QUIC_STREAMS
    options.initial_stream_window_size.value = _QUIC_STREAM_WINDOW
    options.initial_connection_window_size.value = _QUIC_CONNECTION_WINDOW
    return proto.serialize(message)


def _chain(
    bind: ir.Bind, chain: ir.FilterChain, cut: Cut, lazy: bool, manager: resource.Resource | None
) -> bytes:
    message = chain_message(bind, chain, manager, cut=cut, lazy=lazy)
    return framing.frame(_chain_tag(), proto.serialize(message))


def chain_message(
    bind: ir.Bind,
    chain: ir.FilterChain,
    manager: resource.Resource | None,
    *,
    cut: Cut,
    lazy: bool,
    held: Mapping[ir.SecretKey, ir.Secret] | None = None,
) -> listener_proto.FilterChain:
    """`held`: the secrets that go into it; None: it names them."""
    message = listener_proto.FilterChain(name=naming.route_config(chain.scope))
    if by_server_name(chain):
        message.filter_chain_match.transport_protocol = "quic" if chain.quic else "tls"
        if chain.hostname:
            message.filter_chain_match.server_names.append(chain.hostname)
    if chain.tls is not None:
        downstream_tls.write(message, chain.tls, quic=chain.quic, held=held)
    if chain.client.connections is not None:
        _limit(message.filters.add(), bind, chain.client.connections)
    network = message.filters.add()
    if chain.stream is not None:
        streams.write(network, naming.listener(bind), chain.stream)
        return message
    if manager is not None:
        _discover(message, network, manager)
        return message
    network.name = connection_manager.NAME
    network.typed_config.type_url = proto.type_url(hcm.HttpConnectionManager)
    network.typed_config.value = connection_manager.encode(
        naming.listener(bind),
        naming.route_config(chain.scope),
        chain.client.http,
        quic=chain.quic,
        cut=cut,
        lazy=lazy,
    )
    return message


def _discover(
    chain: listener_proto.FilterChain, network: listener_proto.Filter, manager: resource.Resource
) -> None:
    """Names the connection manager, and its version in what nobody reads."""
    network.name = manager.name
    sources.write_ads(network.config_discovery.config_source)
    network.config_discovery.type_urls.append(proto.type_url(hcm.HttpConnectionManager))
    chain.metadata.filter_metadata[METADATA]["manager"] = manager.version


def _limit(target: listener_proto.Filter, bind: ir.Bind, most: int) -> None:
    """Closes connections as they come once there are so many."""
    config = connection_limit.ConnectionLimit(stat_prefix=naming.listener(bind))
    config.max_connections.value = most
    target.name = "envoy.filters.network.connection_limit"
    target.typed_config.CopyFrom(proto.pack_any(config))


def _proxy_protocol(target: listener_proto.ListenerFilter, wanted: client.ProxyProtocol) -> None:
    config = proxy_protocol.ProxyProtocol(allow_requests_without_proxy_protocol=wanted.optional)
    config.disallowed_versions.extend(
        number for version, number in _PROXY_VERSIONS.items() if version not in wanted.versions
    )
    target.name = "envoy.filters.listener.proxy_protocol"
    target.typed_config.CopyFrom(proto.pack_any(config))


@functools.cache
def _chain_tag() -> bytes:
    return framing.tag("envoy.config.listener.v3.Listener", "filter_chains")
