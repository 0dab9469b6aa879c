"""The parts of a ClientPolicy that concern requests: limits, hardening, timeouts, versions of HTTP."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dragoman.translators.gateway.models import meta, policy

Count = Annotated[int, Field(strict=True, ge=1, le=2**32 - 1)]
Header = Annotated[str, Field(min_length=1, max_length=256)]
"""A header's name; `rules_clients` looks at it more closely."""


@meta.shape
class Headers(policy.Section):
    """Limits of request headers."""

    max_bytes: Annotated[
        int | None,
        Field(
            strict=True,
            ge=1024,
            le=8192 * 1024,
            description="Size of all headers of a request, in bytes, rounded up to 1024; more is answered"
            " 431. Default: 61440.",
        ),
    ] = None
    max_count: Annotated[
        int | None,
        Field(
            strict=True,
            ge=1,
            le=2**32 - 1,
            description="Headers of a request; more is refused. Default: 100.",
        ),
    ] = None
    underscores: Annotated[
        Literal["Drop", "Reject", "Allow"] | None,
        Field(
            description="What is done to headers with underscores in their names, which some backends take"
            " for hyphens. Default: Drop."
        ),
    ] = None


@meta.shape
class HeaderValue:
    """One header."""

    name: Annotated[Header, Field(description="The header's name.")]
    value: Annotated[str, Field(max_length=4096, description="Its value, as it is.")]


@meta.shape
class EarlyHeaders(policy.Section):
    """Changes of request headers before a route is looked for: routes are chosen by what comes of them."""

    set: Annotated[
        tuple[HeaderValue, ...] | None,
        Field(max_length=32, description="Headers that are set, whatever the client sent."),
    ] = None
    add: Annotated[
        tuple[HeaderValue, ...] | None,
        Field(max_length=32, description="Headers that are added to what the client sent."),
    ] = None
    remove: Annotated[
        tuple[Header, ...] | None, Field(max_length=32, description="Headers that are dropped.")
    ] = None


@meta.shape
class Paths(policy.Section):
    """How a path is made plain before a route is looked for. Backends see it in this form."""

    normalize: Annotated[
        meta.Bool | None,
        Field(description="Resolve `.` and `..`, and decode letters (RFC 3986, 6). Default: true."),
    ] = None
    merge_slashes: Annotated[
        meta.Bool | None, Field(description="Make one slash of several. Default: true.")
    ] = None
    escaped_slashes: Annotated[
        Literal["Keep", "Reject", "Redirect", "Unescape"] | None,
        Field(
            description="What is done to `%2F` and `%5C`: left alone, answered 400, decoded with a redirect,"
            " or decoded. Default: Redirect."
        ),
    ] = None


@meta.shape
class Timeouts(policy.Section):
    """How long clients may take. `0s` stands for no limit."""

    request_headers: Annotated[
        meta.Duration | None,
        Field(description="From a request's first byte to the end of its headers, then 408. Default: 10s."),
    ] = None
    request: Annotated[
        meta.Duration | None,
        Field(description="From a request's first byte to its last, then 408. Default: no limit."),
    ] = None
    stream_idle: Annotated[
        meta.Duration | None,
        Field(
            description="Without a byte in either direction of a request, where its route says nothing else."
            " Default: 5m."
        ),
    ] = None
    idle: Annotated[
        meta.Duration | None, Field(description="Of a connection without requests. Default: 1h.")
    ] = None
    tls_handshake: Annotated[
        meta.Duration | None,
        Field(description="From a connection to the end of its TLS handshake. Default: no limit."),
    ] = None


@meta.shape
class Connections(policy.Section):
    """Limits of connections, each of one Envoy."""

    max: Annotated[
        Count | None,
        Field(description="Connections at once; more are closed as they come. Default: no limit."),
    ] = None
    max_requests: Annotated[
        Count | None, Field(description="Requests of one connection, then it ends. Default: no limit.")
    ] = None
    max_duration: Annotated[
        meta.Duration | None,
        Field(
            description="How old a connection may get; then it ends when its requests are answered. `0s`: no"
            " limit. Default: no limit."
        ),
    ] = None
    buffer_bytes: Annotated[
        int | None,
        Field(
            strict=True,
            ge=1024,
            le=2**31 - 1,
            description="Bytes of a connection that wait to be sent on before no more are read, per"
            " direction. Default: 32768.",
        ),
    ] = None


@meta.shape
class Http1(policy.Section):
    """HTTP/1.0 and HTTP/1.1."""

    http10: Annotated[
        meta.Bool | None, Field(description="Answer HTTP/1.0; else it is told 426. Default: false.")
    ] = None
    default_host: Annotated[
        meta.PreciseHostname | None,
        Field(description="The host of HTTP/1.0 requests that name none. Default: they are refused."),
    ] = None
    trailers: Annotated[
        meta.Bool | None, Field(description="Pass trailers on; else they are dropped. Default: false.")
    ] = None
    preserve_case: Annotated[
        meta.Bool | None,
        Field(
            description="Keep the case of request headers' names towards HTTP/1.1 backends; else they are in"
            " lower case. Default: false."
        ),
    ] = None


Window = Annotated[int, Field(strict=True, ge=65535, le=2**31 - 1)]


@meta.shape
class Http2(policy.Section):
    """HTTP/2. HTTP/3 has the default limits."""

    max_concurrent_streams: Annotated[
        int | None,
        Field(
            strict=True, ge=1, le=2**31 - 1, description="Requests at once on one connection. Default: 100."
        ),
    ] = None
    stream_window_bytes: Annotated[
        Window | None, Field(description="Bytes of a request that wait to be read. Default: 65536.")
    ] = None
    connection_window_bytes: Annotated[
        Window | None, Field(description="The same of a whole connection. Default: 1048576.")
    ] = None
    reset_burst: Annotated[
        Count | None,
        Field(
            description="Requests that a client may break off at once before its connection is closed."
            " Needs `resetsPerSecond`. Default: by Envoy's own rule."
        ),
    ] = None
    resets_per_second: Annotated[
        Count | None,
        Field(description="Requests per second that it may break off for long. Needs `resetBurst`."),
    ] = None
    max_control_frames: Annotated[
        Count | None,
        Field(
            description="Answers to pings, settings and resets that wait to be sent before a connection is"
            " closed. Default: 1000."
        ),
    ] = None
    max_empty_frames: Annotated[
        int | None,
        Field(
            strict=True,
            ge=0,
            le=2**32 - 1,
            description="Frames without content in a row before a connection is closed. Default: 1.",
        ),
    ] = None


@meta.shape
class Http3(policy.Section):
    """HTTP/3 beside HTTP/2 and HTTP/1.1: the same port over UDP, and word of it in `alt-svc`."""

    enabled: Annotated[
        meta.Bool | None, Field(description="Serve HTTP/3 on HTTPS listeners. Default: false.")
    ] = None
    advertised_port: Annotated[
        meta.Port | None,
        Field(description="The port that clients are told, where it is mapped. Default: the listener's."),
    ] = None
    max_age: Annotated[
        meta.Duration | None,
        Field(description="How long clients may remember it. Whole seconds. Default: 24h."),
    ] = None
