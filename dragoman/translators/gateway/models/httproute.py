"""HTTPRoute: hostnames, rules, matches, filters, backends.

`None` where the CRD has no default means "not said"; defaults that the specification prescribes are
filled in here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dragoman.translators.gateway.models import meta

Method = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]
CorsMethod = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"]
FilterType = Literal[
    "RequestHeaderModifier",
    "ResponseHeaderModifier",
    "RequestMirror",
    "RequestRedirect",
    "URLRewrite",
    "ExtensionRef",
    "CORS",
    "ExternalAuth",
]
StatusCode = Annotated[int, Field(strict=True, ge=400, le=599)]
Origin = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        pattern=r"(^\*$)|(^(http(s)?):\/\/(((\*\.)?([a-zA-Z0-9\-]+\.)*[a-zA-Z0-9-]+|\*)(:([0-9]{1,5}))?)$)",
    ),
]


@meta.shape
class PathMatch:
    type: Annotated[
        Literal["Exact", "PathPrefix", "RegularExpression"],
        Field(description="`PathPrefix` takes whole segments, `RegularExpression` the whole path (RE2)."),
    ] = "PathPrefix"
    value: Annotated[str, Field(max_length=1024, description="The path, or the expression.")] = "/"


@meta.shape
class HeaderMatch:
    name: Annotated[meta.HeaderName, Field(description="The header's name, in any case.")]
    value: Annotated[meta.HeaderValue, Field(description="The whole value, or an RE2 expression for it.")]
    type: Annotated[
        Literal["Exact", "RegularExpression"], Field(description="How the value is compared.")
    ] = "Exact"


@meta.shape
class QueryParamMatch:
    name: meta.HeaderName
    value: Annotated[str, Field(min_length=1, max_length=1024)]
    type: Literal["Exact", "RegularExpression"] = "Exact"


@meta.shape
class Match:
    path: PathMatch = PathMatch()
    headers: Annotated[tuple[HeaderMatch, ...], Field(max_length=16)] = ()
    query_params: Annotated[tuple[QueryParamMatch, ...], Field(max_length=16)] = ()
    method: Method | None = None


@meta.shape
class Header:
    name: meta.HeaderName
    value: meta.HeaderValue


@meta.shape
class HeaderModifier:
    set: Annotated[tuple[Header, ...], Field(max_length=16)] = ()
    add: Annotated[tuple[Header, ...], Field(max_length=16)] = ()
    remove: Annotated[tuple[str, ...], Field(max_length=16)] = ()


@meta.shape
class Fraction:
    numerator: Annotated[int, Field(strict=True, ge=0, le=meta.INT32)]
    denominator: Annotated[int, Field(strict=True, ge=1, le=meta.INT32)] = 100


@meta.shape
class RequestMirror:
    backend_ref: meta.BackendObjectReference
    percent: Annotated[int, Field(strict=True, ge=0, le=100)] | None = None
    fraction: Fraction | None = None


@meta.shape
class PathModifier:
    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"]
    replace_full_path: Annotated[str, Field(max_length=1024)] | None = None
    replace_prefix_match: Annotated[str, Field(max_length=1024)] | None = None


@meta.shape
class RequestRedirect:
    scheme: Literal["http", "https"] | None = None
    hostname: meta.PreciseHostname | None = None
    path: PathModifier | None = None
    port: meta.Port | None = None
    status_code: Literal[301, 302, 303, 307, 308] = 302


@meta.shape
class UrlRewrite:
    hostname: meta.PreciseHostname | None = None
    path: PathModifier | None = None


@meta.shape
class Cors:
    allow_origins: Annotated[tuple[Origin, ...], Field(max_length=64)] = ()
    allow_credentials: meta.Bool | None = None
    allow_methods: Annotated[tuple[CorsMethod, ...], Field(max_length=9)] = ()
    allow_headers: Annotated[tuple[meta.HeaderName, ...], Field(max_length=64)] = ()
    expose_headers: Annotated[tuple[meta.HeaderName, ...], Field(max_length=64)] = ()
    max_age: Annotated[int, Field(strict=True, ge=1, le=meta.INT32)] = 5


@meta.shape
class GrpcAuth:
    allowed_headers: Annotated[tuple[str, ...], Field(max_length=64)] = ()


@meta.shape
class HttpAuth:
    path: Annotated[str, Field(max_length=1024)] = ""
    allowed_headers: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    allowed_response_headers: Annotated[tuple[str, ...], Field(max_length=64)] = ()


@meta.shape
class ForwardBody:
    max_size: Annotated[int, Field(strict=True)] = 0


@meta.shape
class ExternalAuth:
    """Read so that it can be refused by name."""

    protocol: Literal["HTTP", "GRPC"]
    backend_ref: meta.BackendObjectReference
    grpc: GrpcAuth | None = None
    http: HttpAuth | None = None
    forward_body: ForwardBody | None = None


@meta.shape
class Filter:
    """Exactly the field that `type` names is set (`rules_http` checks)."""

    type: FilterType
    request_header_modifier: HeaderModifier | None = None
    response_header_modifier: HeaderModifier | None = None
    request_mirror: RequestMirror | None = None
    request_redirect: RequestRedirect | None = None
    url_rewrite: UrlRewrite | None = None
    cors: Cors | None = None
    extension_ref: meta.LocalObjectReference | None = None
    external_auth: ExternalAuth | None = None


@meta.shape
class HttpBackendRef(meta.BackendRef):
    filters: Annotated[tuple[Filter, ...], Field(max_length=16)] = ()


@meta.shape
class Timeouts:
    request: meta.Duration | None = None
    backend_request: meta.Duration | None = None


@meta.shape
class Retry:
    codes: tuple[StatusCode, ...] = ()
    attempts: Annotated[int, Field(strict=True, ge=1)] | None = None
    backoff: meta.Duration | None = None


@meta.shape
class CookieConfig:
    lifetime_type: Literal["Permanent", "Session"] = "Session"


@meta.shape
class SessionPersistence:
    session_name: Annotated[str, Field(max_length=128)] = ""
    absolute_timeout: meta.Duration | None = None
    type: Literal["Cookie", "Header"] = "Cookie"
    cookie_config: CookieConfig | None = None


@meta.shape
class Rule:
    name: meta.SectionName | None = None
    matches: Annotated[tuple[Match, ...], Field(max_length=64)] = (Match(),)
    filters: Annotated[tuple[Filter, ...], Field(max_length=16)] = ()
    backend_refs: Annotated[tuple[HttpBackendRef, ...], Field(max_length=16)] = ()
    timeouts: Timeouts | None = None
    retry: Retry | None = None
    session_persistence: SessionPersistence | None = None


@meta.shape
class HttpRoute:
    """HTTPRouteSpec."""

    parent_refs: Annotated[tuple[meta.ParentReference, ...], Field(max_length=32)] = ()
    hostnames: Annotated[tuple[meta.Hostname, ...], Field(max_length=16)] = ()
    rules: Annotated[tuple[Rule, ...], Field(min_length=1, max_length=16)] = (Rule(),)
    use_default_gateways: Literal["All", "None"] | None = None
