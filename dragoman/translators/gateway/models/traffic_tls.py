"""TLS to backends: a part of a TrafficPolicy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dragoman.translators.gateway.models import backend, meta, policy

Version = Literal["1.2", "1.3"]


@meta.shape
class Tls(policy.Section):
    """TLS to backends. Spoken to those that ask for it themselves, and to all where the policy says whom to
    trust: `caCertificateRefs`, `wellKnownCACertificates` or `insecureSkipVerify`. Whom a Backend or a
    BackendTLSPolicy trusts, a TrafficPolicy does not change."""

    hostname: Annotated[
        meta.PreciseHostname | None,
        Field(description="Server name to ask for, and the name that certificates must bear."),
    ] = None
    subject_alt_names: Annotated[
        Annotated[
            tuple[Annotated[str, Field(min_length=1, max_length=253)], ...],
            Field(min_length=1, max_length=16),
        ]
        | None,
        Field(description="Names of which a certificate must bear one. Default: `hostname`."),
    ] = None
    ca_certificate_refs: Annotated[
        Annotated[tuple[backend.CaReference, ...], Field(min_length=1, max_length=8)] | None,
        Field(
            alias="caCertificateRefs",
            description="ConfigMaps or Secrets of the policy's namespace whose `ca.crt` is trusted.",
        ),
    ] = None
    well_known_ca_certificates: Annotated[
        Literal["System"] | None,
        Field(
            alias="wellKnownCACertificates",
            description="`System`: the authorities that the system trusts.",
        ),
    ] = None
    insecure_skip_verify: Annotated[
        meta.Bool | None, Field(description="`true`: encrypt, and trust anybody. Default: false.")
    ] = None
    client_certificate_ref: Annotated[
        backend.ClientCertificateReference | None,
        Field(
            description="A Secret of the policy's namespace, shown to backends that ask for a certificate."
        ),
    ] = None
    minimum_version: Annotated[
        Version | None, Field(description="The oldest version of TLS that is spoken. Default: 1.2.")
    ] = None
    maximum_version: Annotated[
        Version | None, Field(description="The newest version of TLS that is spoken. Default: 1.3.")
    ] = None
