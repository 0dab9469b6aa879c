"""What a translator says of one Gateway object. Part of `ir.model`."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from dragoman.ir.backends import SecretKey
from dragoman.ir.client import DEFAULT_CLIENTS, ClientSettings, TlsTermination
from dragoman.ir.policy import Said
from dragoman.refs import Origin, Ref


class Protocol(enum.Enum):
    """A listener's protocol, in Gateway API's words."""

    HTTP = "HTTP"
    HTTPS = "HTTPS"
    TLS = "TLS"
    TCP = "TCP"
    UDP = "UDP"


class Family(enum.Enum):
    """What can share a bind: within a family host names tell listeners apart."""

    HTTP = "HTTP"
    TLS = "TLS"
    TCP = "TCP"
    UDP = "UDP"


FAMILIES: Final[Mapping[Protocol, Family]] = {
    Protocol.HTTP: Family.HTTP,
    Protocol.HTTPS: Family.TLS,
    Protocol.TLS: Family.TLS,
    Protocol.TCP: Family.TCP,
    Protocol.UDP: Family.UDP,
}


@dataclass(frozen=True, slots=True)
class GatewayListener:
    """One valid listener. `hostname` is `""` for any host, else exact or `*.suffix`, lower case. `tls` None
    and protocol TLS: connections pass through undecrypted. `said`: the fields of policies that are in force
    on it."""

    name: str
    port: int
    protocol: Protocol
    hostname: str
    tls: TlsTermination | None
    origin: Origin = field(compare=False)
    client: ClientSettings = DEFAULT_CLIENTS
    said: tuple[Said, ...] = ()


@dataclass(frozen=True, slots=True)
class Gateway:
    """One accepted Gateway with its valid listeners, or what a ListenerSet adds to one.

    `addresses` are IP addresses it asked for; empty: the settings decide. `age` orders Gateways that share
    an Envoy: (creation timestamp or "~", namespace/name), a ListenerSet's after its Gateway's.
    `certificate` is shown to backends that ask for one. `parent`: the Gateway that a ListenerSet adds to.
    `labels` and `annotations` go to what is generated to serve it: its proxies' bootstrap.
    """

    ref: Ref
    addresses: tuple[str, ...]
    listeners: tuple[GatewayListener, ...]
    age: tuple[str, ...]
    origin: Origin = field(compare=False)
    certificate: SecretKey | None = None
    parent: Ref | None = None
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()

    @property
    def gateway(self) -> Ref:
        """The Gateway whose proxies have these listeners."""
        return self.parent or self.ref
