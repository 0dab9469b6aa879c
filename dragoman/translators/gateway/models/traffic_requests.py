"""The parts of a TrafficPolicy that concern requests: timeouts and retries. Fallbacks and faults are in
`traffic_failures`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dragoman.translators.gateway.models import meta, policy

Status = Annotated[int, Field(strict=True, ge=200, le=599)]
Percent = Annotated[float, Field(strict=True, ge=0, le=100)]

Condition = Literal[
    "5xx",
    "gateway-error",
    "retriable-4xx",
    "reset",
    "reset-before-request",
    "connect-failure",
    "refused-stream",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
]
"""Envoy's own words, which its documentation explains; the last five are gRPC statuses."""


@meta.shape
class Timeouts(policy.Section):
    """How long everything may take. `0s` stands for no limit."""

    connect: Annotated[meta.Duration | None, Field(description="To connect to an endpoint. Default: 5s.")] = (
        None
    )
    request: Annotated[
        meta.Duration | None,
        Field(
            description="From the whole request to the whole response, tries and pauses included."
            " Default: no limit."
        ),
    ] = None
    idle: Annotated[
        meta.Duration | None,
        Field(
            description="Until a connection to an endpoint without requests under way is closed. Default: 1h."
        ),
    ] = None
    per_try: Annotated[
        meta.Duration | None,
        Field(description="One try: from the whole request to the whole response. Default: no limit."),
    ] = None
    per_try_idle: Annotated[
        meta.Duration | None,
        Field(description="Within one try: without a byte from the backend. Default: no limit."),
    ] = None
    stream_idle: Annotated[
        meta.Duration | None,
        Field(
            description="Without a byte in either direction, from the request's first byte on."
            " Default: 5m, or `request` where that is longer."
        ),
    ] = None
    max_stream_duration: Annotated[
        meta.Duration | None,
        Field(
            description="From the request's first byte to the response's last, however much moves: cuts off"
            " event streams and WebSockets too. Default: no limit."
        ),
    ] = None


@meta.shape
class BackOff:
    """Pauses between tries: a random time up to `base`, which doubles with each try up to `max`."""

    base: Annotated[
        meta.Duration | None, Field(description="The first pause's upper bound. Default: 25ms.")
    ] = None
    max: Annotated[
        meta.Duration | None, Field(description="No pause is longer. Default: ten times `base`.")
    ] = None


@meta.shape
class RetryAfter(policy.Section):
    """Waiting as long as the backend asks for: `Retry-After` in seconds; with status 429 also
    `X-RateLimit-Reset`, in seconds or as a Unix timestamp."""

    max: Annotated[
        meta.Duration | None,
        Field(
            description="Longest wait. Who asks for more, or in a form that says no number of seconds, is not"
            " asked again: the client gets the response. Default: 10s, or `timeouts.request` where that is"
            " shorter."
        ),
    ] = None


@meta.shape
class Budget:
    """How many tries may be under way to one backend beside its requests, from one Envoy."""

    percent: Annotated[
        Percent | None, Field(description="Retries, in percent of the requests under way. Default: 20.")
    ] = None
    min_concurrent: Annotated[
        Annotated[int, Field(strict=True, ge=0, le=2**32 - 1)] | None,
        Field(description="So many retries are always allowed. Default: 3."),
    ] = None


@meta.shape
class ResponseHeader:
    """A header of a response."""

    name: Annotated[meta.HeaderName, Field(description="Name of the header, in any case.")]
    value: Annotated[
        meta.HeaderValue | None, Field(description="Its value, exactly; without it any value counts.")
    ] = None


@meta.shape
class AttemptCount:
    """Who is told the number of the try, in `x-envoy-attempt-count`."""

    to_backend: Annotated[
        meta.Bool | None, Field(description="Every try says which one it is, from 1. Default: false.")
    ] = None
    to_client: Annotated[
        meta.Bool | None, Field(description="The response says how many tries it took. Default: false.")
    ] = None


@meta.shape
class Retries(policy.Section):
    """Trying again. Where it is said at all, requests are tried again; with `attempts: 0` they are not."""

    attempts: Annotated[
        Annotated[int, Field(strict=True, ge=0, le=100)] | None,
        Field(description="Tries after the first one. Default: 1."),
    ] = None
    conditions: Annotated[
        tuple[Condition, ...] | None,
        Field(
            max_length=16,
            description="What is tried again, in Envoy's words. Default: `connect-failure`, `refused-stream`,"
            " `reset-before-request` and `reset`; on GRPCRoutes `unavailable` instead of `reset`.",
        ),
    ] = None
    status_codes: Annotated[
        tuple[Status, ...] | None,
        Field(max_length=64, description="Statuses of the backend that are tried again as well."),
    ] = None
    response_headers: Annotated[
        tuple[ResponseHeader, ...] | None,
        Field(
            max_length=16,
            description="Responses with one of these headers are tried again as well, whatever their status.",
        ),
    ] = None
    methods: Annotated[
        tuple[Annotated[str, Field(pattern=r"^([A-Z]{1,32}|\*)$")], ...] | None,
        Field(
            min_length=1,
            max_length=16,
            description="Methods of requests that may be sent a second time; `*`: all. Requests that"
            " certainly did not reach the backend (`connect-failure`, `refused-stream`,"
            " `reset-before-request`) are tried again whatever their method, and so are gRPC calls."
            " Default: GET, HEAD, OPTIONS, PUT, DELETE and TRACE.",
        ),
    ] = None
    back_off: Annotated[BackOff | None, Field(description="Pauses between tries.")] = None
    retry_after: Annotated[
        RetryAfter | None, Field(description="Waiting as long as the backend asks for.")
    ] = None
    avoid_previous_hosts: Annotated[
        meta.Bool | None,
        Field(description="Each try goes to another endpoint, if there is one. Default: true."),
    ] = None
    hedge: Annotated[
        meta.Bool | None,
        Field(
            description="When a try has lasted `timeouts.perTry`, it goes on and another one starts: the"
            " first good response counts. Default: false."
        ),
    ] = None
    budget: Annotated[
        Budget | None, Field(description="Limits retries by the requests under way. Default: no limit.")
    ] = None
    attempt_count: Annotated[AttemptCount | None, Field(description="Who is told the number of the try.")] = (
        None
    )
