"""What policies set about a cluster beyond where it is: limits, endpoints left alone, the choice among
endpoints, health checks, and how connections are kept.

All of them are fields of `ir.Cluster`, None where nothing is set: then the cluster is as Dragoman makes it by
itself (`envoy/clusters.py`). Durations are seconds, shares percent.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """Retries may be so many percent of the requests under way; `at_least` may always be."""

    percent: float = 20.0
    at_least: int = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be under way at once. None: no limit. A `budget` takes the place of `retries`."""

    connections: int | None = None
    pending: int | None = None
    requests: int | None = None
    retries: int | None = None
    endpoint_connections: int | None = None
    budget: RetryBudget | None = None


@dataclass(frozen=True, slots=True)
class SuccessRate:
    """Endpoints that succeed less often than the mean minus `deviations` standard deviations."""

    deviations: float = 1.9
    endpoints: int = 5
    requests: int = 100


@dataclass(frozen=True, slots=True)
class FailureShare:
    """Endpoints of whose requests `percent` or more fail."""

    percent: int = 85
    endpoints: int = 1
    requests: int = 10


@dataclass(frozen=True, slots=True)
class Outliers:
    """Endpoints that get nothing for a while. A count of 0: not looked for. `split`: failures that Envoy sees
    itself are counted apart. The n-th time lasts n times `base`, `longest` at most."""

    errors: int = 0
    gateway_errors: int = 0
    local_errors: int = 0
    split: bool = False
    success_rate: SuccessRate | None = None
    failures: FailureShare | None = None
    interval: float = 10.0
    base: float = 30.0
    longest: float = 300.0
    jitter: float = 0.0
    percent: int = 50


@dataclass(frozen=True, slots=True)
class HashHeader:
    """`name` is lower case."""

    name: str


@dataclass(frozen=True, slots=True)
class HashCookie:
    """`ttl`: clients without the cookie get one that lives so long (0: a session); None: they get none."""

    name: str
    ttl: float | None = None
    path: str = "/"


@dataclass(frozen=True, slots=True)
class HashQuery:
    name: str


@dataclass(frozen=True, slots=True)
class HashAddress:
    """The client's address."""


HashSource = HashHeader | HashCookie | HashQuery | HashAddress


@dataclass(frozen=True, slots=True)
class SlowStart:
    """A new endpoint's share grows for `window`, from `percent` of it."""

    window: float
    aggression: float = 1.0
    percent: int = 10


@dataclass(frozen=True, slots=True)
class RoundRobin:
    """`local`: endpoints of Envoy's own zone alone while there are so many; 0: zones don't matter."""

    slow_start: SlowStart | None = None
    local: int = 0


@dataclass(frozen=True, slots=True)
class LeastRequest:
    choices: int = 2
    bias: float = 1.0
    slow_start: SlowStart | None = None
    local: int = 0


@dataclass(frozen=True, slots=True)
class Random:
    local: int = 0


@dataclass(frozen=True, slots=True)
class RingHash:
    """`sources`: the first one that a request has decides. `balance`: percent of the average load above which
    an endpoint is passed over; 0: none is."""

    sources: tuple[HashSource, ...]
    minimum: int = 1024
    maximum: int = 8 * 1024 * 1024
    balance: int = 0


@dataclass(frozen=True, slots=True)
class Maglev:
    """`table` is a prime number."""

    sources: tuple[HashSource, ...]
    table: int = 65537
    balance: int = 0


Balancing = RoundRobin | LeastRequest | Random | RingHash | Maglev


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """`statuses`: ranges, both ends included. `body`: bytes that the answer's must hold."""

    path: str
    host: str = ""
    method: str = "GET"
    statuses: tuple[tuple[int, int], ...] = ()
    body: str = ""


@dataclass(frozen=True, slots=True)
class TcpProbe:
    send: str = ""
    receive: str = ""


@dataclass(frozen=True, slots=True)
class GrpcProbe:
    service: str = ""
    authority: str = ""


Probe = HttpProbe | TcpProbe | GrpcProbe


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """Endpoints are asked every `interval`; None: as long as that."""

    probe: Probe
    interval: float = 5.0
    timeout: float = 1.0
    unhealthy: int = 3
    healthy: int = 2
    jitter: int = 10
    unhealthy_interval: float | None = None
    unhealthy_edge: float | None = None
    healthy_edge: float | None = None
    no_traffic: float | None = None


@dataclass(frozen=True, slots=True)
class Keepalive:
    """TCP's, in whole seconds. 0: as the system has it."""

    idle: int = 0
    interval: int = 0
    probes: int = 0


@dataclass(frozen=True, slots=True)
class Http2:
    """None: Envoy's default. `ping` 0: never."""

    streams: int | None = None
    stream_window: int | None = None
    connection_window: int | None = None
    ping: float = 0.0
    ping_timeout: float = 10.0


class ProxyHeader(enum.Enum):
    """The PROXY protocol's versions."""

    V1 = "v1"
    V2 = "v2"


@dataclass(frozen=True, slots=True)
class Connection:
    """How connections are kept. `idle` None: an hour; 0: for ever. `requests`, `age` and `buffer` 0: the
    default."""

    idle: float | None = None
    requests: int = 0
    age: float = 0.0
    buffer: int = 0
    keepalive: Keepalive | None = None
    http2: Http2 | None = None
    proxy: ProxyHeader | None = None
