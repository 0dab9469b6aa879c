"""Service (core/v1): what a route or an EndpointSlice needs of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dragoman.translators.gateway.models import meta


@meta.excerpt
class ServicePort:
    port: meta.Port
    name: str = ""
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"
    app_protocol: str = ""
    target_port: Annotated[int, Field(strict=True, ge=1, le=65535)] | str | None = None


@meta.excerpt
class ServiceSpec:
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    ports: tuple[ServicePort, ...] = ()
    external_name: str = ""
    ip_families: tuple[Literal["IPv4", "IPv6"], ...] = ()


@meta.excerpt
class Service:
    spec: ServiceSpec = ServiceSpec()
