"""The parts of a TrafficPolicy about failures: what is done instead (`fallback`), and failures on purpose
(`faults`)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from dragoman.translators.gateway.models import meta, policy, traffic_requests


@meta.shape
class FallbackHeader:
    """A header of the response."""

    name: Annotated[meta.HeaderName, Field(description="Name of the header.")]
    value: Annotated[
        meta.HeaderValue,
        Field(description="Its value; may hold values of the request such as `%REQ(x-id)%`."),
    ]


@meta.shape
class FallbackResponse:
    """A response of Envoy's own. Texts may hold values of the request such as `%REQ(x-id)%`."""

    WHOLE: ClassVar[bool] = True

    status: Annotated[traffic_requests.Status, Field(description="Status of the response.")] = 503
    headers: Annotated[
        tuple[FallbackHeader, ...], Field(max_length=16, description="Headers of the response.")
    ] = ()
    json: Annotated[dict[str, Any] | None, Field(description="The body, as application/json.")] = None
    text: Annotated[
        str | None, Field(max_length=65536, description="The body, as text/plain unless `headers` says more.")
    ] = None


@meta.shape
class FallbackBackend(meta.BackendObjectReference):
    """Another backend. The rules of a route's backendRefs hold: `port` is the Service's, and a ReferenceGrant
    lets it be of another namespace."""

    WHOLE: ClassVar[bool] = True

    name: Annotated[meta.ObjectName, Field(description="Name of the backend.")]
    group: Annotated[
        meta.Group, Field(description="API group of its kind: `dragoman.dev` for a Backend. Default: core.")
    ] = ""
    kind: Annotated[meta.Kind, Field(description="`Service` or `Backend`. Default: `Service`.")] = "Service"
    namespace: Annotated[
        meta.Namespace | None, Field(description="Its namespace. Default: the policy's.")
    ] = None
    port: Annotated[meta.Port | None, Field(description="Port of the Service; a Backend has none.")] = None


@meta.shape
class Fallback(policy.Section):
    """What is done where Envoy has no response of the backend: it refuses connections, has no healthy
    endpoint, is ejected or overloaded, or does not answer in time."""

    backend_ref: Annotated[
        FallbackBackend | None,
        Field(description="Another backend, which takes over while the first one cannot be reached."),
    ] = None
    response: Annotated[
        FallbackResponse | None,
        Field(description="A response, where no backend (the other one included) has given any."),
    ] = None
    status_codes: Annotated[
        tuple[traffic_requests.Status, ...] | None,
        Field(
            max_length=64,
            description="Statuses of the backend's own that are to be replaced as well. Default: none.",
        ),
    ] = None


@meta.shape
class FaultHeader:
    """A header of a request."""

    name: Annotated[meta.HeaderName, Field(description="Name of the header, in any case.")]
    value: Annotated[
        meta.HeaderValue | None, Field(description="Its value, exactly; without it any value counts.")
    ] = None


@meta.shape
class Delay:
    """Requests that wait before they are forwarded."""

    WHOLE: ClassVar[bool] = True

    fixed: Annotated[meta.Duration | None, Field(description="How long they wait.")] = None
    by_header: Annotated[
        meta.Bool | None,
        Field(
            description="Requests say themselves how long, in milliseconds: `x-envoy-fault-delay-request`."
            " Only for listeners whose clients are trusted."
        ),
    ] = None
    percent: Annotated[
        traffic_requests.Percent,
        Field(description="Share of the requests, in percent; fractions down to 0.0001 count."),
    ] = 100.0


@meta.shape
class Abort:
    """Requests that are answered with an error instead of being forwarded."""

    WHOLE: ClassVar[bool] = True

    http_status: Annotated[traffic_requests.Status | None, Field(description="HTTP status.")] = None
    grpc_status: Annotated[
        Annotated[int, Field(strict=True, ge=0, le=16)] | None, Field(description="gRPC status.")
    ] = None
    by_header: Annotated[
        meta.Bool | None,
        Field(
            description="Requests say themselves which: `x-envoy-fault-abort-request` (HTTP) or"
            " `x-envoy-fault-abort-grpc-request`. Only for listeners whose clients are trusted."
        ),
    ] = None
    percent: Annotated[
        traffic_requests.Percent,
        Field(description="Share of the requests, in percent; fractions down to 0.0001 count."),
    ] = 100.0


@meta.shape
class Faults(policy.Section):
    """Failures on purpose, to see what clients make of them."""

    delay: Annotated[Delay | None, Field(description="Delays.")] = None
    abort: Annotated[Abort | None, Field(description="Errors.")] = None
    headers: Annotated[
        tuple[FaultHeader, ...] | None,
        Field(max_length=16, description="Only requests with all of these headers. Default: all requests."),
    ] = None
