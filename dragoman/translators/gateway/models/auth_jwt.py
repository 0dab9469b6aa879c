"""Tokens (JWT, RFC 7519) in an AuthPolicy."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dragoman.translators.gateway.models import consumer, meta, policy

Text = Annotated[str, Field(min_length=1, max_length=1024)]
Url = Annotated[str, Field(min_length=8, max_length=2048, pattern=r"^https?://[^\s/]+(/\S*)?$")]
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


@meta.shape
class KeysReference:
    """A ConfigMap or Secret of the policy's namespace."""

    name: Annotated[meta.ObjectName, Field(description="Its name.")]
    kind: Annotated[
        Literal["ConfigMap", "Secret"], Field(description="What holds the keys. Default: ConfigMap.")
    ] = "ConfigMap"
    key: Annotated[str, Field(max_length=253, description="The entry. Default: `jwks.json`.")] = "jwks.json"


@meta.shape
class Jwks:
    """Where an issuer's public keys (JWKS, RFC 7517) come from: one of these, or none: then the issuer's
    `/.well-known/openid-configuration` says where."""

    # `inline` is shown to nobody: some people put private keys there.
    uri: Annotated[
        Url | None, Field(description="A URL. Fetched every 10 minutes; the last good keys stay.")
    ] = None
    inline: Annotated[str | None, Field(max_length=65536, description="The keys themselves, as JSON.")] = (
        field(default=None, repr=False)
    )
    ref: Annotated[KeysReference | None, Field(description="A ConfigMap or Secret that holds them.")] = None


@meta.shape
class HeaderSource:
    """A header that holds the token."""

    name: Annotated[meta.HeaderName, Field(description="The header's name.")]
    prefix: Annotated[
        str,
        Field(
            max_length=64, description="What stands before the token, such as `Bearer `. Default: nothing."
        ),
    ] = ""


@meta.shape
class Sources:
    """Where the token may be."""

    headers: Annotated[tuple[HeaderSource, ...], Field(max_length=8, description="Headers.")] = ()
    cookies: Annotated[tuple[Text, ...], Field(max_length=8, description="Cookies, by name.")] = ()
    query_params: Annotated[tuple[Text, ...], Field(max_length=8, description="Query parameters.")] = ()


@meta.shape
class ClaimHeader:
    """A claim that the backend gets as a header. A client's own copy of the header never reaches it."""

    claim: Annotated[
        Text,
        Field(description="The claim; dots lead into objects (`address.country`)."),
    ]
    header: Annotated[meta.HeaderName, Field(description="The header.")]
    format: Annotated[
        Literal["Text", "List"],
        Field(
            description="`List`: its entries with commas between them; commas, percent signs and what is not"
            " visible ASCII within an entry are escaped as in URLs. Default: Text."
        ),
    ] = "Text"


@meta.shape
class Provider:
    """One issuer."""

    name: Annotated[str, Field(min_length=1, max_length=63, description="For people.")]
    issuer: Annotated[Text, Field(description="What tokens say in `iss`, exactly.")]
    audiences: Annotated[
        tuple[Text, ...],
        Field(max_length=32, description="Tokens must be for one of these (`aud`). Default: any."),
    ] = ()
    algorithms: Annotated[
        tuple[Algorithm, ...],
        Field(max_length=10, description="Signatures that are taken. Default: what the keys say."),
    ] = ()
    jwks: Annotated[Jwks, Field(description="Its public keys.")] = Jwks()
    from_: Annotated[
        Sources,
        Field(
            alias="from",
            description="Where the token may be. Default: `Authorization: Bearer` and the query parameter"
            " `access_token`.",
        ),
    ] = Sources()
    clock_skew: Annotated[
        meta.Duration,
        Field(
            description="Tokens are taken so long after their end and before their start, in whole seconds,"
            " one at least. Default: 30s."
        ),
    ] = 30.0
    require_expiration: Annotated[
        meta.Bool, Field(description="Tokens without an end (`exp`) are refused. Default: true.")
    ] = True
    forward: Annotated[meta.Bool, Field(description="The backend gets the token. Default: true.")] = True
    payload_header: Annotated[
        meta.HeaderName | None,
        Field(description="A header in which the backend gets all claims, as base64url."),
    ] = None
    claims_to_headers: Annotated[
        tuple[ClaimHeader, ...], Field(max_length=32, description="Claims that the backend gets as headers.")
    ] = ()


@meta.shape
class Jwt(policy.Section):
    """Requests bring a token of one of these issuers."""

    WHOLE: ClassVar[bool] = False

    providers: Annotated[
        tuple[Provider, ...] | None, Field(min_length=1, max_length=16, description="The issuers.")
    ] = None
    consumer_claim: Annotated[
        consumer.Path | None,
        Field(
            description="The claim by which Consumers of the policy's namespace are known, such as `sub`;"
            " dots lead into objects. Texts only. Default: tokens make nobody a Consumer."
        ),
    ] = None
    optional: Annotated[
        meta.Bool | None,
        Field(
            description="`true`: requests without a token pass too; a wrong token never does. Default: false."
        ),
    ] = None
