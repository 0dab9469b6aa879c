"""The IR's backends: clusters, how they are spoken to, their endpoints, and the secrets that TLS needs.

Part of `ir.model`, which has all of these names.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from dragoman import frozen
from dragoman.ir import upstream
from dragoman.ir.policy import Said
from dragoman.refs import Origin, Ref

NOBODY: Final = Ref("", "", "", "")
"""Stands for no object where keys must sort."""


HOST: Final = "Host"
"""The kind of what no object stands for: a host that a policy names by URL. Its namespace is the scheme."""


class Transport(enum.Enum):
    """How a cluster is spoken to: what it says itself, or HTTP/2 for gRPC where it says nothing; plain
    bytes (with TLS where a policy says so), bytes that are TLS already, datagrams."""

    APPLICATION = ""
    GRPC = "grpc"
    BYTES = "tcp"
    PASSTHROUGH = "tls"
    DATAGRAMS = "udp"


class ClusterKey(NamedTuple):
    """A cluster's identity: the object and its port, and where these differ, how it is spoken to, the
    certificate that is shown to it, and the policies of its users that set something about it (the most
    general first). Which rules use it plays no other part. `port` 0: the object has none. `reserve`: the
    cluster that takes over while this one has no healthy endpoint; Envoy then gets both and a pair of them,
    which this is the key of."""

    ref: Ref
    port: int = 0
    transport: str = ""  # a `Transport`'s value: keys are sorted
    certificate: Ref = NOBODY
    policies: tuple[Ref, ...] = ()
    reserve: tuple[ClusterKey, ...] = ()  # one, or none

    @property
    def place(self) -> ClusterKey:
        """The key of its endpoints: the same ones however they are spoken to, but for UDP ports."""
        datagrams = self.transport == Transport.DATAGRAMS.value
        place = ClusterKey(self.ref, self.port, self.transport if datagrams else "")
        return self if self == place else place  # as most are: then it is there once


class AppProtocol(enum.Enum):
    """What is spoken to the endpoints."""

    HTTP1 = "http1"
    HTTP2 = "http2"
    AUTO = "auto"  # ALPN over TLS
    NONE = "none"  # bytes and datagrams


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """TLS to the endpoints. `ca`: secret with the trusted certificates; None with `system_ca`: the
    system's. `sans`: names the peer must bear (one of). `oldest`, `newest`: versions (`1.2`, `1.3`), "" for
    Envoy's."""

    sni: str = ""
    ca: SecretKey | None = None
    system_ca: bool = True
    sans: tuple[str, ...] = ()
    certificate: SecretKey | None = None
    insecure: bool = False
    oldest: str = ""
    newest: str = ""


class Health(enum.Enum):
    """`DRAINING` endpoints finish what they have and get nothing new."""

    HEALTHY = "healthy"
    DRAINING = "draining"
    UNHEALTHY = "unhealthy"


@frozen.statically
@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """`address` is an IP address, a host name (Dns clusters) or an absolute path of a unix socket (`port`
    0)."""

    address: str
    port: int
    zone: str = ""
    priority: int = 0
    health: Health = field(default=Health.HEALTHY, compare=True)
    weight: int = 1
    hostname: str = ""


@frozen.statically
@dataclass(frozen=True, slots=True)
class EndpointSet:
    """The endpoints of one cluster, sorted, without repetitions. `shares`: zone -> its part of the traffic,
    where zones stand for backends of one route (UDPRoute)."""

    key: ClusterKey
    endpoints: tuple[Endpoint, ...]
    shares: tuple[tuple[str, int], ...] = ()


class Discovery(enum.Enum):
    """How Envoy learns a cluster's endpoints."""

    EDS = "eds"  # pushed apart from the cluster: Services
    STATIC = "static"  # inside the cluster: addresses, sockets
    DNS = "dns"  # Envoy resolves host names


@frozen.statically
@dataclass(frozen=True, slots=True)
class Cluster:
    """`endpoints` is empty for EDS. `shared`: zones get their shares of it all (`EndpointSet.shares`).
    `panic`: percentage of healthy endpoints below which all get requests. `overprovision`: what one priority
    can carry, in percent. `said`: the fields of policies that are in force on it."""

    key: ClusterKey
    discovery: Discovery
    protocol: AppProtocol = AppProtocol.HTTP1
    tls: UpstreamTls | None = None
    endpoints: tuple[Endpoint, ...] = ()
    connect_timeout: float = 5.0
    shared: bool = False
    limits: upstream.Limits | None = None
    outliers: upstream.Outliers | None = None
    balancing: upstream.Balancing | None = None
    health_check: upstream.HealthCheck | None = None
    connection: upstream.Connection | None = None
    panic: int = 0
    overprovision: int = 140
    origin: Origin | None = field(default=None, compare=False)
    said: tuple[Said, ...] = field(default=(), compare=False)

    @property
    def piecemeal(self) -> bool:
        """Whether Envoy resolves it name by name: it takes the cluster for ready when it knows of one, which
        may be none of those that are there and well."""
        return self.discovery is Discovery.DNS and len(self.endpoints) > 1


class SecretKey(NamedTuple):
    """A secret's identity and use: `tls` (certificate and key), `ca` (trusted certificates) or `crl` (revoked
    ones). `revoked`: who has the list of revoked certificates that goes with a `ca`."""

    ref: Ref
    use: str = "tls"
    revoked: Ref = NOBODY


@dataclass(frozen=True, slots=True)
class Secret:
    """PEM bytes, or (`generic`) whatever somebody is to know; never shown (`repr` leaves them out, dumps
    print a fingerprint)."""

    key: SecretKey
    certificate: bytes = field(default=b"", repr=False)
    private_key: bytes = field(default=b"", repr=False)
    ca: bytes = field(default=b"", repr=False)
    crl: bytes = field(default=b"", repr=False)
    generic: bytes = field(default=b"", repr=False)
    origin: Origin | None = field(default=None, compare=False)
