"""Backend (dragoman.dev/v1alpha1): endpoints outside Services.

Host names, addresses and unix sockets; TLS towards them; priorities (fallback), zones and weights.
Everything that a Backend refers to stands in its own namespace, so it needs no grants of its own;
routes of other namespaces need one.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dragoman.translators.gateway.models import meta


@meta.shape
class Endpoint:
    """Exactly one of `hostname`, `address` and `unix` (`rules_backend` checks); `port` goes with the first
    two.
    """

    hostname: meta.PreciseHostname | None = None
    address: Annotated[str, Field(min_length=2, max_length=45)] | None = None
    unix: Annotated[str, Field(min_length=2, max_length=107, pattern=r"^/[^\x00]*$")] | None = None
    port: meta.Port | None = None
    weight: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 1
    priority: Annotated[int, Field(strict=True, ge=0, le=127)] = 0
    zone: Annotated[str, Field(max_length=253)] = ""


@meta.shape
class CaReference:
    """A ConfigMap or Secret with the key `ca.crt`."""

    name: Annotated[meta.ObjectName, Field(description="Its name.")]
    group: Annotated[meta.Group, Field(description="Its API group: the core group.")] = ""
    kind: Annotated[meta.Kind, Field(description="ConfigMap or Secret.")] = "ConfigMap"


@meta.shape
class ClientCertificateReference:
    """A Secret of type kubernetes.io/tls. In policies it is taken over or replaced as a whole."""

    WHOLE: ClassVar[bool] = True

    name: Annotated[meta.ObjectName, Field(description="Its name.")]
    group: Annotated[meta.Group, Field(description="Its API group: the core group.")] = ""
    kind: Annotated[meta.Kind, Field(description="Secret.")] = "Secret"


@meta.shape
class Tls:
    """Whom to trust: `caCertificateRefs`, the system's certificates, or, said out loud, anybody."""

    hostname: meta.PreciseHostname | None = None
    subject_alt_names: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=253)], ...], Field(max_length=16)
    ] = ()
    ca_certificate_refs: Annotated[
        tuple[CaReference, ...], Field(max_length=8, alias="caCertificateRefs")
    ] = ()
    well_known_ca_certificates: Annotated[
        Literal["System"] | None, Field(alias="wellKnownCACertificates")
    ] = None
    client_certificate_ref: ClientCertificateReference | None = None
    insecure_skip_verify: meta.Bool = False


@meta.shape
class Backend:
    """BackendSpec. Without `protocol`, gRPC gets HTTP/2 and everything else HTTP/1.1."""

    endpoints: Annotated[tuple[Endpoint, ...], Field(min_length=1, max_length=256)]
    protocol: Literal["HTTP1", "HTTP2", "Auto"] | None = None
    tls: Tls | None = None
    connect_timeout: meta.Duration | None = None
