"""Gateway: addresses, listeners and their TLS, and which routes may attach."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field

from dragoman.translators.gateway.models import meta


@meta.shape
class RouteGroupKind:
    kind: meta.Kind
    group: meta.Group = meta.GATEWAY_GROUP


@meta.shape
class RouteNamespaces:
    from_: Annotated[Literal["All", "Selector", "Same"], Field(alias="from")] = "Same"
    selector: meta.LabelSelector | None = None


@meta.shape
class AllowedRoutes:
    namespaces: RouteNamespaces = RouteNamespaces()
    kinds: Annotated[tuple[RouteGroupKind, ...], Field(max_length=8)] = ()


@meta.shape
class ListenerTls:
    mode: Literal["Terminate", "Passthrough"] | None = None
    certificate_refs: Annotated[tuple[meta.SecretObjectReference, ...], Field(max_length=64)] = ()
    options: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=16)] = field(
        default_factory=dict
    )


@meta.shape
class Listener:
    name: meta.SectionName
    port: meta.Port
    protocol: Annotated[
        str,
        Field(
            min_length=1,
            max_length=255,
            pattern=r"^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$"
            r"|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9]+$",
        ),
    ]
    hostname: meta.Hostname | None = None
    tls: ListenerTls | None = None
    allowed_routes: AllowedRoutes = AllowedRoutes()


@meta.shape
class Address:
    """An address asked for. Without `value`, any of its type."""

    type: Annotated[str, Field(min_length=1, max_length=253)] = "IPAddress"
    value: Annotated[str, Field(max_length=253)] = ""


@meta.shape
class Infrastructure:
    labels: Annotated[dict[str, str], Field(max_length=8)] = field(default_factory=dict)
    annotations: Annotated[dict[str, str], Field(max_length=16)] = field(default_factory=dict)
    parameters_ref: meta.LocalObjectReference | None = None


@meta.shape
class FrontendValidation:
    ca_certificate_refs: Annotated[
        tuple[meta.ObjectReference, ...], Field(min_length=1, max_length=16, alias="caCertificateRefs")
    ]
    mode: Literal["AllowValidOnly", "AllowInsecureFallback"] = "AllowValidOnly"


@meta.shape
class FrontendTlsConfig:
    validation: FrontendValidation | None = None


@meta.shape
class FrontendTlsPort:
    port: meta.Port
    tls: FrontendTlsConfig


@meta.shape
class FrontendTls:
    default: FrontendTlsConfig
    per_port: Annotated[tuple[FrontendTlsPort, ...], Field(max_length=64)] = ()


@meta.shape
class BackendTls:
    client_certificate_ref: meta.SecretObjectReference | None = None


@meta.shape
class GatewayTls:
    backend: BackendTls | None = None
    frontend: FrontendTls | None = None


@meta.shape
class ListenerNamespaces:
    from_: Annotated[Literal["All", "Selector", "Same", "None"], Field(alias="from")] = "None"
    selector: meta.LabelSelector | None = None


@meta.shape
class AllowedListeners:
    namespaces: ListenerNamespaces = ListenerNamespaces()


@meta.shape
class Gateway:
    """GatewaySpec."""

    gateway_class_name: meta.ObjectName
    listeners: Annotated[tuple[Listener, ...], Field(min_length=1, max_length=64)]
    addresses: Annotated[tuple[Address, ...], Field(max_length=16)] = ()
    infrastructure: Infrastructure | None = None
    allowed_listeners: AllowedListeners | None = None
    tls: GatewayTls | None = None
    default_scope: Literal["All", "None"] | None = None
