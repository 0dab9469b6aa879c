"""How endpoints are asked for their health: a part of a TrafficPolicy."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dragoman.translators.gateway.models import meta, policy

Threshold = Annotated[int, Field(strict=True, ge=1, le=1000)]
Payload = Annotated[str, Field(min_length=1, max_length=1024)]


@meta.shape
class StatusRange:
    """Status codes, both ends included."""

    start: Annotated[int, Field(strict=True, ge=100, le=599, description="The least.")]
    end: Annotated[int, Field(strict=True, ge=100, le=599, description="The greatest.")]


@meta.shape
class HttpCheck:
    """A request, and what is to be answered."""

    path: Annotated[
        Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^/[!-~]*$")],
        Field(description="Path and query."),
    ]
    host: Annotated[
        meta.PreciseHostname | None,
        Field(description="The Host header. Default: the endpoint's host name, or the backend's."),
    ] = None
    method: Annotated[
        Literal["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"] | None,
        Field(description="Default: GET."),
    ] = None
    expected_statuses: Annotated[
        Annotated[tuple[StatusRange, ...], Field(min_length=1, max_length=16)] | None,
        Field(description="Status codes of a healthy endpoint. Default: 200."),
    ] = None
    expected_body: Annotated[
        Payload | None, Field(description="Text that the first 1024 bytes of the body must hold.")
    ] = None


@meta.shape
class TcpCheck:
    """A connection, and what is to be said on it. Nothing: that it comes about is enough."""

    send: Annotated[Payload | None, Field(description="Text to send.")] = None
    receive: Annotated[Payload | None, Field(description="Text that the answer must hold.")] = None


@meta.shape
class GrpcCheck:
    """A call of grpc.health.v1.Health/Check. Only backends that speak HTTP/2 can be asked."""

    service: Annotated[
        Annotated[str, Field(min_length=1, max_length=253)] | None,
        Field(description="The service asked about. Default: the server as a whole."),
    ] = None
    authority: Annotated[
        meta.PreciseHostname | None, Field(description="The name called. Default: as for `http.host`.")
    ] = None


@meta.shape
class HealthCheck(policy.Section):
    """Asks every endpoint for its health, again and again; who is not well gets no requests. Taken from one
    policy as a whole."""

    WHOLE: ClassVar[bool] = True

    http: Annotated[HttpCheck | None, Field(description="By an HTTP request.")] = None
    tcp: Annotated[TcpCheck | None, Field(description="By a TCP connection.")] = None
    grpc: Annotated[GrpcCheck | None, Field(description="By gRPC's health service.")] = None
    interval: Annotated[meta.Duration | None, Field(description="Between two checks. Default: 5s.")] = None
    timeout: Annotated[meta.Duration | None, Field(description="Time to answer in. Default: 1s.")] = None
    unhealthy_threshold: Annotated[
        Threshold | None,
        Field(
            description="Failed checks in a row until an endpoint gets no requests. (A 503 takes it out at"
            " once.) Default: 3."
        ),
    ] = None
    healthy_threshold: Annotated[
        Threshold | None,
        Field(description="Good checks in a row until it gets requests again. Default: 2."),
    ] = None
    jitter_percent: Annotated[
        Annotated[int, Field(strict=True, ge=0, le=100)] | None,
        Field(description="Up to so many percent of the interval are added. Default: 10."),
    ] = None
    unhealthy_interval: Annotated[
        meta.Duration | None,
        Field(description="Between two checks of an endpoint that is not well. Default: `interval`."),
    ] = None
    unhealthy_edge_interval: Annotated[
        meta.Duration | None,
        Field(description="To the next check once one has failed. Default: `unhealthyInterval`."),
    ] = None
    healthy_edge_interval: Annotated[
        meta.Duration | None,
        Field(description="To the next check once one has succeeded. Default: `interval`."),
    ] = None
    no_traffic_interval: Annotated[
        meta.Duration | None,
        Field(
            description="Between two checks while the backend has never had a request. Default: `interval`."
        ),
    ] = None
    connection_failures: Annotated[
        Annotated[int, Field(strict=True, ge=0, le=1000)] | None,
        Field(
            description="Requests in a row that an endpoint does not answer (no connection, a reset, a"
            " timeout) until it gets none, up to its next good check or for 30s; half of the endpoints at"
            " most. 0: only checks count. Default: 3; where there is `outlierDetection`, that counts."
        ),
    ] = None
