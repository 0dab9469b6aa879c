"""BackendTLSPolicy: TLS from the Gateway to a Service, and whom it trusts there."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field

from dragoman.translators.gateway.models import meta


@meta.shape
class TargetRef:
    """`section_name` is a port's name."""

    group: meta.Group
    kind: meta.Kind
    name: meta.ObjectName
    section_name: meta.SectionName | None = None


@meta.shape
class SubjectAltName:
    type: Literal["Hostname", "URI"]
    hostname: meta.Hostname | None = None
    uri: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[^:/?#]+://[^/?#]*")] | None = None


@meta.shape
class Validation:
    hostname: meta.PreciseHostname
    ca_certificate_refs: Annotated[
        tuple[meta.LocalObjectReference, ...], Field(max_length=8, alias="caCertificateRefs")
    ] = ()
    well_known_ca_certificates: Annotated[
        str | None, Field(min_length=1, max_length=253, alias="wellKnownCACertificates")
    ] = None
    subject_alt_names: Annotated[tuple[SubjectAltName, ...], Field(max_length=5)] = ()


@meta.shape
class BackendTlsPolicy:
    """BackendTLSPolicySpec."""

    target_refs: Annotated[tuple[TargetRef, ...], Field(min_length=1, max_length=16)]
    validation: Validation
    options: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=16)] = field(
        default_factory=dict
    )
