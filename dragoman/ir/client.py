"""How clients are dealt with: TLS, and what a listener's connections and requests may do.

Part of `ir.model`, which has the names that others need. The defaults are those of a listener for which no
policy says anything; docs/clients.md gives the reasons. Settings come in three scopes, by what Envoy can
tell apart: `PortSettings` holds for an address and port, `Http` for whoever shares a connection manager (all
plain-HTTP listeners of a port; TLS listeners of one host name), the rest for a filter chain.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final

from dragoman.ir.backends import SecretKey

# --- TLS --------------------------------------------------------------------------------------------------


class TlsVersion(enum.Enum):
    """Versions of TLS, in order."""

    TLS_1_0 = "TLSv1.0"
    TLS_1_1 = "TLSv1.1"
    TLS_1_2 = "TLSv1.2"
    TLS_1_3 = "TLSv1.3"


class NameKind(enum.Enum):
    """The kinds of names in certificates (RFC 5280, 4.2.1.6)."""

    URI = "URI"
    DNS = "DNS"
    EMAIL = "Email"
    ADDRESS = "IPAddress"


class Likeness(enum.Enum):
    """How a name is compared. `REGEX` is RE2 and covers the whole name."""

    EXACT = "exact"
    PREFIX = "prefix"
    SUFFIX = "suffix"
    REGEX = "regex"


@dataclass(frozen=True, slots=True)
class NameMatch:
    """What a name in a client's certificate is like."""

    kind: NameKind
    likeness: Likeness
    value: str


@dataclass(frozen=True, slots=True)
class ClientValidation:
    """Clients show a certificate of the authorities in `ca`. `optional`: those without one, or with one that
    is not valid, are let in all the same; `absent`: those without one, but not with an invalid one. `names`:
    one of the certificate's is like one of these; empty: any. `leaf_only`: of the chain, only the client's
    own certificate is looked up in the list of revoked ones (`ca.revoked`)."""

    ca: SecretKey
    optional: bool = False
    absent: bool = False
    names: tuple[NameMatch, ...] = ()
    leaf_only: bool = False


@dataclass(frozen=True, slots=True)
class TlsTermination:
    """TLS at a listener: certificates by secret name (the first is the default), several chosen by SNI and
    key type. `alpn` empty: nothing is negotiated. `maximum` None: the newest; `ciphers` (up to TLS 1.2) and
    `curves` by OpenSSL's names, empty: Envoy's own. `handshake`: seconds, 0: no limit."""

    certificates: tuple[SecretKey, ...]
    alpn: tuple[str, ...] = ("h2", "http/1.1")
    clients: ClientValidation | None = None
    minimum: TlsVersion = TlsVersion.TLS_1_2
    maximum: TlsVersion | None = None
    ciphers: tuple[str, ...] = ()
    curves: tuple[str, ...] = ()
    handshake: float = 0.0


# --- whose address it is ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TrustedHops:
    """The client's address is this many entries from the end of x-forwarded-for."""

    number: int


@dataclass(frozen=True, slots=True)
class TrustedNetworks:
    """It is the last entry of x-forwarded-for that is in none of these networks (`10.0.0.0/8`)."""

    networks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AddressHeader:
    """It is what this header says. `required`: 403 without it."""

    name: str
    required: bool = False


ClientAddress = TrustedHops | TrustedNetworks | AddressHeader


class ProxyVersion(enum.Enum):
    """Versions of the PROXY protocol."""

    V1 = "V1"
    V2 = "V2"


@dataclass(frozen=True, slots=True)
class ProxyProtocol:
    """Connections begin with a PROXY header. `optional`: or without."""

    versions: tuple[ProxyVersion, ...] = (ProxyVersion.V1, ProxyVersion.V2)
    optional: bool = False


class Forwarding(enum.Enum):
    """What becomes of x-forwarded-client-cert."""

    REMOVE = "Remove"
    FORWARD = "Forward"
    APPEND = "Append"
    REPLACE = "Replace"
    ALWAYS_FORWARD = "AlwaysForward"


class CertificateDetail(enum.Enum):
    """What x-forwarded-client-cert tells besides the certificate's hash."""

    SUBJECT = "Subject"
    URI = "URI"
    DNS = "DNS"
    ISSUER = "Issuer"
    CERTIFICATE = "Certificate"
    CHAIN = "Chain"


# --- requests ---------------------------------------------------------------------------------------------


class Underscores(enum.Enum):
    """What is done to headers with underscores in their names."""

    DROP = "Drop"
    REJECT = "Reject"
    ALLOW = "Allow"


class EscapedSlashes(enum.Enum):
    """What is done to `%2F` and `%5C` in paths."""

    KEEP = "Keep"
    REJECT = "Reject"
    REDIRECT = "Redirect"
    UNESCAPE = "Unescape"


@dataclass(frozen=True, slots=True)
class EarlyHeaders:
    """Changes before a route is looked for, in the order remove, set, add."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.set or self.add or self.remove)


@dataclass(frozen=True, slots=True)
class Http1:
    """HTTP/1. `default_host`: of HTTP/1.0 requests without one, "" refuses them."""

    http10: bool = False
    default_host: str = ""
    trailers: bool = False
    preserve_case: bool = False


@dataclass(frozen=True, slots=True)
class Http2:
    """HTTP/2; `streams` and the windows (bytes) for HTTP/3 as well. The limits that are None are Envoy's;
    `resets` is (at once, per second)."""

    streams: int = 100
    stream_window: int = 64 * 1024
    connection_window: int = 1024 * 1024
    resets: tuple[int, int] | None = None
    control_frames: int | None = None
    empty_frames: int | None = None


@dataclass(frozen=True, slots=True)
class Http:
    """What a connection manager does. Durations are seconds, 0: no limit. `header_bytes`, `header_count`,
    `max_requests` None: Envoy's own (60 KiB, 100, no limit)."""

    address: ClientAddress | None = None
    forwarding: Forwarding = Forwarding.REMOVE
    details: tuple[CertificateDetail, ...] = (CertificateDetail.SUBJECT, CertificateDetail.URI)
    header_bytes: int | None = None
    header_count: int | None = None
    underscores: Underscores = Underscores.DROP  # as nginx: to CGI and WSGI, X_User and X-User are one
    early: EarlyHeaders = field(default_factory=EarlyHeaders)
    normalize: bool = True
    merge_slashes: bool = True
    escaped_slashes: EscapedSlashes = EscapedSlashes.REDIRECT
    request_headers: float = 10.0
    request: float = 0.0
    stream_idle: float = 300.0
    idle: float = 3600.0
    max_duration: float = 0.0
    max_requests: int | None = None
    http1: Http1 = field(default_factory=Http1)
    http2: Http2 = field(default_factory=Http2)

    @property
    def detects(self) -> bool:
        """Whether the client's address is looked for, instead of counted from the connection's own."""
        return self.address is not None and not isinstance(self.address, TrustedHops)


@dataclass(frozen=True, slots=True)
class PortSettings:
    """What holds for an address and port. `buffer`: bytes per connection and direction, None: the default."""

    proxy_protocol: ProxyProtocol | None = None
    buffer: int | None = None


@dataclass(frozen=True, slots=True)
class Http3:
    """HTTP/3 on the same port. `port`: what clients are told, 0: the listener's; `max_age` in seconds."""

    port: int = 0
    max_age: int = 86400


@dataclass(frozen=True, slots=True)
class TableSettings:
    """What clients' settings put on all requests of a route table: word of HTTP/3 on responses, and the
    client's address on requests where the connection manager does not put it there itself."""

    http3: Http3 | None = None
    address: bool = False


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How the clients of a listener are dealt with. `connections`: at once, None: no limit. `closed`: none is
    let in, since what would tell the right ones cannot be used (why)."""

    port: PortSettings = field(default_factory=PortSettings)
    http: Http = field(default_factory=Http)
    connections: int | None = None
    http3: Http3 | None = None
    closed: str = ""


DEFAULT_CLIENTS: Final = ClientSettings()
"""Without any policy."""
