"""GRPCRoute: HTTPRoute's sister with matches on services and methods."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dragoman.translators.gateway.models import httproute, meta

_NAME = r"^[A-Za-z_][A-Za-z_0-9]*$"
_SERVICE = r"^(?i:\.?[a-z_][a-z_0-9]*(\.[a-z_][a-z_0-9]*)*)$"
"""What an Exact match takes (the CRD's CEL rules); `rules_grpc` applies them."""


@meta.shape
class MethodMatch:
    type: Literal["Exact", "RegularExpression"] = "Exact"
    service: Annotated[str, Field(max_length=1024)] = ""
    method: Annotated[str, Field(max_length=1024)] = ""


@meta.shape
class HeaderMatch:
    """HTTPRoute's, but for the form of the value."""

    name: meta.HeaderName
    value: Annotated[str, Field(min_length=1, max_length=4096)]
    type: Literal["Exact", "RegularExpression"] = "Exact"


@meta.shape
class Match:
    method: MethodMatch | None = None
    headers: Annotated[tuple[HeaderMatch, ...], Field(max_length=16)] = ()


@meta.shape
class Rule:
    name: meta.SectionName | None = None
    matches: Annotated[tuple[Match, ...], Field(max_length=64)] = ()
    filters: Annotated[tuple[httproute.Filter, ...], Field(max_length=16)] = ()
    backend_refs: Annotated[tuple[httproute.HttpBackendRef, ...], Field(max_length=16)] = ()
    session_persistence: httproute.SessionPersistence | None = None


@meta.shape
class GrpcRoute:
    """GRPCRouteSpec."""

    parent_refs: Annotated[tuple[meta.ParentReference, ...], Field(max_length=32)] = ()
    hostnames: Annotated[tuple[meta.Hostname, ...], Field(max_length=16)] = ()
    rules: Annotated[tuple[Rule, ...], Field(max_length=16)] = ()
    use_default_gateways: Literal["All", "None"] | None = None
