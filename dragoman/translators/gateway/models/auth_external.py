"""Services that an AuthPolicy asks about each request."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dragoman.translators.gateway.models import meta, policy

Names = Annotated[tuple[meta.HeaderName, ...], Field(max_length=64)]


@meta.shape
class Header:
    """A header that only the service gets."""

    name: Annotated[meta.HeaderName, Field(description="Its name; not `Host`.")]
    value: Annotated[meta.HeaderValue, Field(description="Its value, as it is.")]


@meta.shape
class Context:
    """Something that the service is told of the route."""

    name: Annotated[str, Field(min_length=1, max_length=256, description="Its name.")]
    value: Annotated[str, Field(max_length=1024, description="Its value.")]


@meta.shape
class External(policy.Section):
    """A service that is asked about each request, with all of its headers (Envoy's `ext_authz`). By HTTP it
    gets the request without its body, and 200 lets it pass."""

    WHOLE: ClassVar[bool] = True

    backend_ref: Annotated[
        meta.BackendObjectReference | None, Field(description="The service. Must be said.")
    ] = None
    protocol: Annotated[Literal["GRPC", "HTTP"], Field(description="How it is asked. Default: GRPC.")] = (
        "GRPC"
    )
    timeout: Annotated[
        meta.Duration, Field(description="How long to wait for its answer: 1ms to 60s. Default: 500ms.")
    ] = 0.5
    fail_open: Annotated[
        meta.Bool,
        Field(description="`true`: requests pass where it gives no answer. Default: false, they get 503."),
    ] = False
    path_prefix: Annotated[
        str | None,
        Field(
            max_length=1024,
            pattern=r"^/[!-~]*$",
            description="HTTP: what stands before the path of the request. Default: nothing.",
        ),
    ] = None
    add_headers: Annotated[
        tuple[Header, ...],
        Field(max_length=16, description="Headers that only the service gets."),
    ] = ()
    context: Annotated[
        tuple[Context, ...],
        Field(max_length=32, description="GRPC: what it gets as `context_extensions`."),
    ] = ()
    backend_headers: Annotated[
        Names,
        Field(
            description="HTTP: headers of its answer that are passed on with the request. Copies that clients"
            " send are dropped on every route, but for `authorization` and `cookie`."
        ),
    ] = ()
    client_headers: Annotated[
        Names | None,
        Field(description="HTTP: headers of its answer that the client gets with a refusal. Default: all."),
    ] = None
    success_headers: Annotated[
        Names,
        Field(description="HTTP: headers of its answer that the client gets with the response."),
    ] = ()
    body_bytes: Annotated[
        int,
        Field(
            strict=True,
            ge=0,
            le=1 << 20,
            description="Bytes of the body that go along, and that the request waits for. Default: 0; 1 MiB"
            " at most.",
        ),
    ] = 0
