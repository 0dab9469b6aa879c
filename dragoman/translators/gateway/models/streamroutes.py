"""TLSRoute, TCPRoute, UDPRoute: where connections and datagrams go that are not looked into."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dragoman.translators.gateway.models import meta


@meta.shape
class Rule:
    backend_refs: Annotated[tuple[meta.BackendRef, ...], Field(min_length=1, max_length=16)]
    name: meta.SectionName | None = None


@meta.shape
class StreamRoute:
    """TCPRouteSpec, UDPRouteSpec. Rules have no matches, so there is exactly one."""

    rules: Annotated[tuple[Rule, ...], Field(min_length=1, max_length=1)]
    parent_refs: Annotated[tuple[meta.ParentReference, ...], Field(max_length=32)] = ()
    use_default_gateways: Literal["All", "None"] | None = None


@meta.shape
class TlsRoute:
    """TLSRouteSpec."""

    rules: Annotated[tuple[Rule, ...], Field(min_length=1, max_length=1)]
    hostnames: Annotated[tuple[meta.Hostname, ...], Field(min_length=1, max_length=1024)]
    parent_refs: Annotated[tuple[meta.ParentReference, ...], Field(max_length=32)] = ()
    use_default_gateways: Literal["All", "None"] | None = None


@meta.shape
class EarlyTlsRoute(TlsRoute):
    """TLSRouteSpec of v1alpha2. Without host names it is for whatever its listeners serve."""

    hostnames: Annotated[tuple[meta.Hostname, ...], Field(max_length=1024)] = ()
