"""The parts of a TrafficPolicy that concern backends as a whole: how much may be under way, which endpoints
are left alone for a while, what happens when few are left, and how connections are kept.

How one of several endpoints is chosen is in `traffic_balancing`, how they are checked in `traffic_health`,
TLS in `traffic_tls`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dragoman.translators.gateway.models import meta, policy

UINT32 = 2**32 - 1
Count = Annotated[int, Field(strict=True, ge=1, le=UINT32)]
CountOrNone = Annotated[int, Field(strict=True, ge=0, le=UINT32)]
Percent = Annotated[int, Field(strict=True, ge=0, le=100)]
Share = Annotated[int, Field(strict=True, ge=1, le=100)]
Window = Annotated[int, Field(strict=True, ge=65535, le=meta.INT32)]
Streams = Annotated[int, Field(strict=True, ge=1, le=meta.INT32)]
Probes = Annotated[int, Field(strict=True, ge=1, le=127)]
"""Linux takes no more, and Envoy makes no connection whose options the system does not take."""


@meta.shape
class CircuitBreaker(policy.Section):
    """How much may be under way at once from one Envoy to one backend; more is answered 503 at once. Without
    it nothing is limited."""

    max_connections: Annotated[
        Count | None, Field(description="Connections to all endpoints together. Default: no limit.")
    ] = None
    max_pending_requests: Annotated[
        Count | None, Field(description="Requests that wait for a connection. Default: no limit.")
    ] = None
    max_requests: Annotated[Count | None, Field(description="Requests under way. Default: no limit.")] = None
    max_retries: Annotated[CountOrNone | None, Field(description="Retries under way. Default: no limit.")] = (
        None
    )
    max_connections_per_endpoint: Annotated[
        Count | None, Field(description="Connections to each endpoint. Default: no limit.")
    ] = None


@meta.shape
class SuccessRate(policy.Section):
    """Leaves endpoints alone that succeed less often than the others do, by statistics."""

    deviations: Annotated[
        float | None,
        Field(ge=0.1, le=1000, description="How many standard deviations below the mean. Default: 1.9."),
    ] = None
    minimum_endpoints: Annotated[
        Count | None,
        Field(description="Endpoints with enough requests that there must be to compare. Default: 5."),
    ] = None
    minimum_requests: Annotated[
        Count | None,
        Field(description="Requests in an interval from which an endpoint is compared. Default: 100."),
    ] = None


@meta.shape
class FailurePercentage(policy.Section):
    """Leaves endpoints alone of whose requests more than a share fails."""

    threshold: Annotated[
        Share | None, Field(description="Percentage of failed requests from which on. Default: 85.")
    ] = None
    minimum_endpoints: Annotated[
        Count | None,
        Field(description="Endpoints with enough requests that there must be. Default: 1."),
    ] = None
    minimum_requests: Annotated[
        Count | None, Field(description="Requests in an interval from which it counts. Default: 10.")
    ] = None


@meta.shape
class OutlierDetection(policy.Section):
    """Leaves endpoints alone for a while whose answers show that they are not well. Only what is said is
    looked for; if nothing is, five failures in a row."""

    breaker: Annotated[
        meta.Bool | None,
        Field(
            description="`true` makes it a circuit breaker: every endpoint may be left alone, always for"
            " `baseEjectionTime`, and requests are answered 503 meanwhile. Default: false."
        ),
    ] = None
    consecutive5xx: Annotated[
        Count | None, Field(alias="consecutive5xx", description="Answers 500 to 599 in a row.")
    ] = None
    consecutive_gateway_errors: Annotated[
        Count | None, Field(description="Answers 502, 503 or 504 in a row.")
    ] = None
    consecutive_local_errors: Annotated[
        Count | None,
        Field(
            description="Failures in a row that Envoy sees itself: no connection, a reset, a timeout. Where"
            " it is said, the other counts are of the endpoint's own answers alone."
        ),
    ] = None
    success_rate: Annotated[
        SuccessRate | None, Field(description="Endpoints that succeed less often than the others.")
    ] = None
    failure_percentage: Annotated[
        FailurePercentage | None, Field(description="Endpoints that fail more often than a share.")
    ] = None
    interval: Annotated[
        meta.Duration | None,
        Field(description="How often rates are looked at, and endpoints taken back. Default: 10s."),
    ] = None
    base_ejection_time: Annotated[
        meta.Duration | None,
        Field(
            description="How long an endpoint is left alone the first time; longer each further time."
            " Default: 30s."
        ),
    ] = None
    max_ejection_time: Annotated[
        meta.Duration | None, Field(description="The longest that an endpoint is left alone. Default: 300s.")
    ] = None
    jitter: Annotated[
        meta.Duration | None,
        Field(description="Up to this is added, so that endpoints do not come back together. Default: 0s."),
    ] = None
    max_ejection_percent: Annotated[
        Percent | None,
        Field(description="The most endpoints that are left alone, in percent of all. Default: 50."),
    ] = None


@meta.shape
class Failover(policy.Section):
    """What happens when few endpoints are left."""

    panic_threshold: Annotated[
        Percent | None,
        Field(
            description="Percentage of healthy endpoints below which all get requests, healthy or not."
            " Default: 0, never."
        ),
    ] = None
    overprovisioning_percent: Annotated[
        Annotated[int, Field(strict=True, ge=100, le=100_000)] | None,
        Field(
            description="How much endpoints of one priority can carry, in percent of their share: at 140 the"
            " next priority gets requests once fewer than 72 percent are healthy. Default: 140."
        ),
    ] = None


@meta.shape
class TcpKeepalive(policy.Section):
    """Signs of life on connections on which nothing moves. What is not said is as the system has it."""

    idle: Annotated[
        meta.Duration | None,
        Field(description="Silence before the first probe, whole seconds, 32767 at most."),
    ] = None
    interval: Annotated[
        meta.Duration | None, Field(description="Between probes, whole seconds, 32767 at most.")
    ] = None
    probes: Annotated[
        Probes | None, Field(description="Probes without an answer after which it is given up.")
    ] = None


@meta.shape
class Http2(policy.Section):
    """Settings that hold where HTTP/2 is spoken."""

    max_concurrent_streams: Annotated[
        Streams | None, Field(description="Requests at once on one connection. Default: 1024.")
    ] = None
    initial_stream_window: Annotated[
        Window | None,
        Field(description="Bytes under way on one stream before they are acknowledged. Default: 16 MiB."),
    ] = None
    initial_connection_window: Annotated[
        Window | None, Field(description="The same on one connection. Default: 24 MiB.")
    ] = None
    ping_interval: Annotated[
        meta.Duration | None,
        Field(description="How often the connection is tried by a PING. Default: never."),
    ] = None
    ping_timeout: Annotated[
        meta.Duration | None,
        Field(description="Without an answer for so long the connection is closed. Default: 10s."),
    ] = None


@meta.shape
class Connection(policy.Section):
    """How connections to endpoints are made and kept."""

    protocol: Annotated[
        Literal["HTTP1", "HTTP2", "Auto"] | None,
        Field(
            description="What is spoken to HTTP backends, whatever they say themselves. `Auto` is settled in"
            " the TLS handshake."
        ),
    ] = None
    max_requests: Annotated[
        Count | None, Field(description="Requests after which a connection is closed. Default: no limit.")
    ] = None
    max_duration: Annotated[
        meta.Duration | None,
        Field(description="Age at which a connection gets no new requests. Default: no limit."),
    ] = None
    buffer_limit: Annotated[
        Annotated[int, Field(strict=True, ge=1024, le=meta.INT32)] | None,
        Field(
            description="Bytes buffered per connection before the other side is told to slow down."
            " Default: 32768."
        ),
    ] = None
    tcp_keepalive: Annotated[
        TcpKeepalive | None, Field(description="Signs of life of TCP. Default: none.")
    ] = None
    http2: Annotated[Http2 | None, Field(alias="http2", description="Settings of HTTP/2.")] = None
    proxy_protocol: Annotated[
        Literal["V1", "V2"] | None,
        Field(
            description="Tells endpoints the client's address at the start of each connection (PROXY"
            " protocol). They must expect it. Default: no."
        ),
    ] = None
