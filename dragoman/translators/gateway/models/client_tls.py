"""The parts of a ClientPolicy that concern TLS: versions, ciphers, and clients' certificates."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dragoman.translators.gateway.models import meta, policy

Version = Literal["TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3"]


@meta.shape
class Tls(policy.Section):
    """How connections are encrypted, on listeners that decrypt them."""

    min_version: Annotated[
        Version | None, Field(description="The oldest version of TLS that is spoken. Default: TLSv1.2.")
    ] = None
    max_version: Annotated[
        Version | None, Field(description="The newest version of TLS that is spoken. Default: TLSv1.3.")
    ] = None
    ciphers: Annotated[
        tuple[str, ...] | None,
        Field(
            min_length=1,
            max_length=32,
            description="Cipher suites up to TLS 1.2, by OpenSSL's names, the preferred first; `[A|B]` are"
            " equally good. Those of TLS 1.3 are fixed. Default: Envoy's.",
        ),
    ] = None
    curves: Annotated[
        tuple[str, ...] | None,
        Field(
            min_length=1,
            max_length=16,
            description="Groups for the key exchange, the preferred first. Default: X25519, P-256.",
        ),
    ] = None
    alpn: Annotated[
        tuple[str, ...] | None,
        Field(
            max_length=8,
            description="Protocols that are offered by ALPN, the preferred first; none: nothing is"
            " negotiated. Default: h2, http/1.1 on HTTPS listeners.",
        ),
    ] = None


@meta.shape
class SubjectAltName:
    """What a name in a certificate must be like. Exactly one of `exact`, `prefix`, `suffix`, `regex`."""

    type: Annotated[
        Literal["URI", "DNS", "Email", "IPAddress"],
        Field(description="Which names are looked at. SPIFFE identities are URIs."),
    ]
    exact: Annotated[str | None, Field(min_length=1, max_length=2048, description="The whole name.")] = None
    prefix: Annotated[
        str | None,
        Field(min_length=1, max_length=2048, description="What it begins with: `spiffe://shop.example/`."),
    ] = None
    suffix: Annotated[str | None, Field(min_length=1, max_length=2048, description="What it ends with.")] = (
        None
    )
    regex: Annotated[
        str | None,
        Field(min_length=1, max_length=1024, description="An RE2 expression for the whole name."),
    ] = None


@meta.shape
class BundleReference(meta.ObjectReference):
    """To a ConfigMap or a Secret."""

    group: Annotated[meta.Group, Field(description="The core group: nothing.")] = ""
    kind: Annotated[meta.Kind, Field(description="ConfigMap or Secret.")] = "ConfigMap"
    name: Annotated[meta.ObjectName, Field(description="Its name.")]
    namespace: Annotated[
        meta.Namespace | None,
        Field(description="Its namespace, if it is not the policy's: that takes a ReferenceGrant."),
    ] = None


@meta.shape
class ClientValidation(policy.Section):
    """Which certificates clients show (mutual TLS). What the Gateway says in `tls.frontend` wins."""

    mode: Annotated[
        Literal["Require", "Optional", "AllowInvalid"] | None,
        Field(
            description="`Require`: no valid certificate, no connection. `Optional`: a client may have none,"
            " but one that it shows must be valid. `AllowInvalid`: everybody is let in; what was shown can"
            " be looked at later. Default: Require."
        ),
    ] = None
    ca_certificate_refs: Annotated[
        tuple[BundleReference, ...] | None,
        Field(
            min_length=1,
            max_length=16,
            description="ConfigMaps or Secrets with the authorities that are trusted, as `ca.crt`.",
        ),
    ] = None
    subject_alt_names: Annotated[
        tuple[SubjectAltName, ...] | None,
        Field(
            min_length=1,
            max_length=64,
            description="One of a certificate's names must be like one of these. Default: any name will do.",
        ),
    ] = None
    crl_refs: Annotated[
        tuple[BundleReference, ...] | None,
        Field(
            min_length=1,
            max_length=16,
            description="ConfigMaps or Secrets with lists of revoked certificates, as `ca.crl` in PEM. Every"
            " authority of a certificate's chain needs its list.",
        ),
    ] = None
    crl_scope: Annotated[
        Literal["Chain", "Leaf"] | None,
        Field(
            description="Which certificates are looked up: all of the chain, or the client's own alone."
            " Default: Chain."
        ),
    ] = None


Detail = Literal["Subject", "URI", "DNS", "Issuer", "Certificate", "Chain"]


@meta.shape
class ForwardedCertificate(policy.Section):
    """What backends are told of a client's certificate, in the header `x-forwarded-client-cert`."""

    mode: Annotated[
        Literal["Remove", "Forward", "Append", "Replace", "AlwaysForward"] | None,
        Field(
            description="`Remove`: the header is dropped. `Forward`: the client's own header is passed on if"
            " its certificate was checked. `Append`: the certificate's details are added to it. `Replace`:"
            " they take its place. `AlwaysForward`: it is passed on whoever sent it. Default: Remove."
        ),
    ] = None
    details: Annotated[
        tuple[Detail, ...] | None,
        Field(
            max_length=6,
            description="What is told besides the certificate's hash, with `Append` and `Replace`. Default:"
            " Subject, URI.",
        ),
    ] = None
