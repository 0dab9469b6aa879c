"""The parts of an HTTPPolicy that answer: overrides, direct responses, maintenance."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from dragoman.translators.gateway.models import httppolicy_headers as parts, meta, policy

BODY = 65536


def _network(value: Any) -> str:
    if not isinstance(value, str):
        raise PydanticCustomError("network", "expected an address or a network such as 10.0.0.0/8")
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise PydanticCustomError("network", "expected an address or a network such as 10.0.0.0/8") from None


def _statuses(value: Any) -> str:
    text = str(value) if type(value) is int else value
    if not isinstance(text, str) or not (
        text in ("4xx", "5xx") or (text.isascii() and text.isdigit() and 200 <= int(text) <= 599)
    ):
        raise PydanticCustomError("statuses", "expected a status from 200 to 599, 4xx or 5xx")
    return text


Network = Annotated[str, BeforeValidator(_network), WithJsonSchema({"type": "string"})]
Statuses = Annotated[
    str,
    BeforeValidator(_statuses),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}]}),
]
Status = Annotated[int, Field(strict=True, ge=200, le=599)]


@meta.shape
class Body:
    """A body: `json` or `text`. Format operators such as `%REQ(x-id)%` stand for parts of the request; `%%`
    is a `%`."""

    WHOLE: ClassVar[bool] = True

    json: Annotated[
        dict[str, Any] | None,
        Field(description="A JSON object. A text of it that is one operator becomes a value of its own."),
    ] = None
    text: Annotated[str | None, Field(max_length=BODY, description="Any text.")] = None
    content_type: Annotated[
        meta.HeaderValue | None,
        Field(description="Default: `application/json` for `json`, `text/plain` for `text`."),
    ] = None


@meta.shape
class Override:
    """Another response in place of some."""

    statuses: Annotated[
        tuple[Statuses, ...],
        Field(min_length=1, max_length=64, description="Statuses that are replaced: `404`, or all of `5xx`."),
    ]
    made_by: Annotated[
        Literal["Any", "Envoy"],
        Field(description="`Envoy`: only responses that Envoy makes itself, not those of backends."),
    ] = "Any"
    status: Annotated[Status | None, Field(description="Another status. Default: as it was.")] = None
    body: Annotated[Body | None, Field(description="The body. Default: none.")] = None
    headers: Annotated[
        tuple[parts.Header, ...],
        Field(max_length=32, description="Headers. All others of the response are dropped."),
    ] = ()


@meta.shape
class ResponseOverride(policy.Section):
    """Responses that are replaced by others."""

    rules: Annotated[
        tuple[Override, ...] | None,
        Field(max_length=32, description="The first that fits is taken."),
    ] = None


@meta.shape
class DirectResponse(policy.Section):
    """Every request is answered here, and none reaches a backend. A RequestRedirect filter goes before."""

    status: Annotated[Status | None, Field(description="The status. Default: 200.")] = None
    body: Annotated[Body | None, Field(description="The body. Default: none.")] = None
    headers: Annotated[
        tuple[parts.Header, ...] | None, Field(max_length=32, description="Headers of the response.")
    ] = None


@meta.shape
class ExemptHeader:
    """A header that lets requests through."""

    name: Annotated[meta.HeaderName, Field(description="The header's name.")]
    value: Annotated[
        meta.HeaderValue | None, Field(description="Its value, exactly. Default: any value.")
    ] = None


@meta.shape
class Exemption:
    """Who gets through: requests that meet one of these."""

    WHOLE: ClassVar[bool] = True

    headers: Annotated[
        tuple[ExemptHeader, ...], Field(max_length=16, description="Requests with one of these headers.")
    ] = ()
    addresses: Annotated[
        tuple[Network, ...],
        Field(max_length=64, description="Clients of these addresses or networks (CIDR)."),
    ] = ()


@meta.shape
class Maintenance(policy.Section):
    """Every request is answered with 503, and none reaches a backend."""

    body: Annotated[
        Body | None, Field(description='The body. Default: JSON that says `"error": "maintenance"`.')
    ] = None
    retry_after: Annotated[
        meta.Duration | None,
        Field(description="What `Retry-After` says, in whole seconds. Default: no such header."),
    ] = None
    exempt: Annotated[Exemption | None, Field(description="Requests that are forwarded all the same.")] = None
