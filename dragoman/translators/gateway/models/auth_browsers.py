"""What an AuthPolicy says of browsers: CORS and CSRF."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dragoman.translators.gateway.models import httproute, meta, policy


@meta.shape
class OriginMatch:
    """Origins of pages."""

    value: Annotated[
        str,
        Field(
            min_length=1,
            max_length=1024,
            description="`https://app.example`; a `*` stands for any labels (`https://*.example`), and alone"
            " for every origin. Of type RegularExpression: an RE2 expression for the whole origin.",
        ),
    ]
    type: Annotated[
        Literal["Exact", "RegularExpression"], Field(description="How to read `value`. Default: Exact.")
    ] = "Exact"


@meta.shape
class HostMatch:
    """Hosts of pages."""

    value: Annotated[
        str,
        Field(
            min_length=1,
            max_length=1024,
            description="`app.example`, or `app.example:8443`; a `*` stands for any labels. Of type"
            " RegularExpression: an RE2 expression for host and port.",
        ),
    ]
    type: Annotated[
        Literal["Exact", "RegularExpression"], Field(description="How to read `value`. Default: Exact.")
    ] = "Exact"


@meta.shape
class Cors(policy.Section):
    """Which pages of other origins may ask (CORS). An HTTPRoute's own CORS filter goes before it."""

    allow_origins: Annotated[
        tuple[OriginMatch, ...] | None, Field(max_length=64, description="The origins. Default: none.")
    ] = None
    allow_methods: Annotated[
        tuple[httproute.CorsMethod, ...] | None, Field(max_length=9, description="Methods, or `*` alone.")
    ] = None
    allow_headers: Annotated[
        tuple[meta.HeaderName, ...] | None,
        Field(max_length=64, description="Request headers, or `*` alone."),
    ] = None
    expose_headers: Annotated[
        tuple[meta.HeaderName, ...] | None,
        Field(max_length=64, description="Response headers that pages may read."),
    ] = None
    allow_credentials: Annotated[
        meta.Bool | None,
        Field(description="`true`: with cookies and the like; never for every origin. Default: false."),
    ] = None
    max_age: Annotated[
        meta.Duration | None,
        Field(description="How long browsers remember what is allowed: 1s to 24h. Default: 5s."),
    ] = None


@meta.shape
class Csrf(policy.Section):
    """Refuses POST, PUT, PATCH and DELETE from pages of other hosts, and from clients that do not say where
    they come from (`Origin` or `Referer`)."""

    additional_origins: Annotated[
        tuple[HostMatch, ...] | None,
        Field(
            max_length=64,
            description="Hosts, beside the one that is asked, whose pages may. The scheme is not looked at.",
        ),
    ] = None
