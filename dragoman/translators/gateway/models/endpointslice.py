"""EndpointSlice (discovery.k8s.io/v1): some of a Service's endpoints."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from dragoman.translators.gateway.models import meta

SERVICE_LABEL: Final = "kubernetes.io/service-name"
"""Names the Service, of the same namespace, that a slice belongs to."""


@meta.excerpt
class Conditions:
    """None is unknown: `ready` then counts as true, `serving` as `ready`, `terminating` as false."""

    ready: meta.Bool | None = None
    serving: meta.Bool | None = None
    terminating: meta.Bool | None = None


@meta.excerpt
class Endpoint:
    addresses: Annotated[tuple[str, ...], Field(min_length=1, max_length=100)]
    conditions: Conditions = Conditions()
    zone: str = ""


@meta.excerpt
class EndpointPort:
    name: str = ""
    port: meta.Port | None = None
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"


@meta.excerpt
class EndpointSlice:
    address_type: Literal["IPv4", "IPv6", "FQDN"]
    endpoints: Annotated[tuple[Endpoint, ...], Field(max_length=1000)] = ()
    ports: Annotated[tuple[EndpointPort, ...], Field(max_length=100)] = ()
