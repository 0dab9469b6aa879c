"""Connections and datagrams that are not looked into (TLSRoute, TCPRoute, UDPRoute), for `listeners.py`.

A share without a valid backend goes to a cluster that doesn't exist: Envoy closes those connections, and
drops those datagrams. Envoy's UDP proxy knows no weights: the translator makes one cluster of several
backends.
"""

from __future__ import annotations

import functools
from typing import Final

from dragoman import proto
from dragoman.envoy import addresses, durations, naming
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.config.listener import v3 as listener_proto
from dragoman.proto.envoy.extensions.filters.network.tcp_proxy import v3 as tcp
from dragoman.proto.envoy.extensions.filters.udp.udp_proxy import v3 as udp

_IDLE: Final = 3600.0
_SESSION: Final = 60.0
_TCP_PROXY: Final = "envoy.filters.network.tcp_proxy"
_UDP_PROXY: Final = "envoy.filters.udp_listener.udp_proxy"


def clusters(stream: ir.Stream) -> frozenset[str]:
    """The names of the clusters it may use."""
    return frozenset(naming.cluster(each.cluster) for each in _shares(stream) if each.cluster is not None)


def write(target: listener_proto.Filter, stat_prefix: str, stream: ir.Stream) -> None:
    """The filter at the end of a chain."""
    proxy = tcp.TcpProxy(stat_prefix=stat_prefix)
    durations.assign(proxy.idle_timeout, _IDLE)
    # Counts where the cluster wants it (`balancing.py`); there is nothing else to hash on.
    proxy.hash_policy.add().source_ip.SetInParent()
    shares = _shares(stream)
    if len(shares) == 1:
        proxy.cluster = _name(shares[0])
    elif shares:
        for share in shares:
            entry = proxy.weighted_clusters.clusters.add()
            entry.name, entry.weight = _name(share), share.weight
    else:
        proxy.cluster = naming.INVALID_CLUSTER
    target.name = _TCP_PROXY
    target.typed_config.CopyFrom(proto.pack_any(proxy))


@functools.lru_cache(maxsize=1024)
def datagrams(bind: ir.Bind, stream: ir.Stream | None) -> bytes:
    """A whole UDP listener."""
    message = listener_proto.Listener(name=naming.listener(bind))
    addresses.write(message.address, bind.address, bind.port)
    message.address.socket_address.protocol = core.SocketAddress.UDP
    message.udp_listener_config.SetInParent()
    proxy = udp.UdpProxyConfig(stat_prefix=naming.listener(bind))
    durations.assign(proxy.idle_timeout, _SESSION)
    proxy.hash_policies.add().source_ip = True
    shares = _shares(stream) if stream is not None else ()
    action = proxy.matcher.on_no_match.action
    action.name = "route"
    to = udp.Route(cluster=_name(shares[0]) if shares else naming.INVALID_CLUSTER)
    action.typed_config.CopyFrom(proto.pack_any(to))
    entry = message.listener_filters.add()
    entry.name = _UDP_PROXY
    entry.typed_config.CopyFrom(proto.pack_any(proxy))
    return proto.serialize(message)


def _shares(stream: ir.Stream) -> tuple[ir.WeightedBackend, ...]:
    return tuple(each for each in stream.backends if each.weight > 0)


def _name(share: ir.WeightedBackend) -> str:
    return naming.cluster(share.cluster) if share.cluster is not None else naming.INVALID_CLUSTER
