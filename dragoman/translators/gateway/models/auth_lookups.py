"""Credentials that an AuthPolicy has looked up: tokens at their issuer (RFC 7662), API keys in Redis."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dragoman.translators.gateway.models import auth_api_keys, auth_jwt, consumer, meta, policy

Failure = Literal["Closed", "Open"]


@meta.shape
class ClientSecret:
    """An entry of a Secret of the policy's namespace."""

    name: Annotated[meta.ObjectName, Field(description="The Secret.")]
    key: Annotated[
        str, Field(min_length=1, max_length=253, description="The entry. Default: `client-secret`.")
    ] = "client-secret"


@meta.shape
class Remember:
    """How long an answer is believed. A token that is revoked passes for so long."""

    active: Annotated[
        meta.Duration,
        Field(
            description="A token that is active: 0s (never) to 24h, and never beyond its end. Default: 5m."
        ),
    ] = 300.0
    inactive: Annotated[
        meta.Duration,
        Field(description="A token that is not: 0s to 1h. Default: 10s. Errors are never remembered."),
    ] = 10.0


@meta.shape
class ClaimHeader:
    """A claim that the backend gets as a header. A client's own copy of the header never reaches it."""

    claim: Annotated[
        auth_jwt.Text,
        Field(
            description="The claim; dots lead into objects (`address.country`). Text, number, boolean, or a"
            " list of these, which is written with commas. What can be no header is left out."
        ),
    ]
    header: Annotated[meta.HeaderName, Field(description="The header.")]


@meta.shape
class Introspection(policy.Section):
    """Requests bring a token of which its issuer says that it is active (OAuth 2.0 Token Introspection,
    RFC 7662). The companion `dragoman authz` asks, and remembers the answer for a while."""

    WHOLE: ClassVar[bool] = True

    endpoint: Annotated[
        auth_jwt.Url | None,
        Field(description="Where to ask. Default: what the issuer's description (discovery) names."),
    ] = None
    issuer: Annotated[
        auth_jwt.Text | None,
        Field(description="Answers that name an issuer (`iss`) must name this one."),
    ] = None
    audiences: Annotated[
        tuple[auth_jwt.Text, ...],
        Field(max_length=32, description="Tokens must be for one of these (`aud`). Default: any."),
    ] = ()
    client_id: Annotated[
        str | None,
        Field(alias="clientID", min_length=1, max_length=256, description="Who asks. Must be said."),
    ] = None
    client_secret_ref: Annotated[
        ClientSecret | None, Field(description="The secret of who asks. Must be said.")
    ] = None
    client_auth: Annotated[
        Literal["Basic", "Post"],
        Field(description="`Post`: both go in the body instead of `Authorization`. Default: Basic."),
    ] = "Basic"
    from_: Annotated[
        auth_jwt.Sources,
        Field(
            alias="from",
            description="Where the token may be: headers, then query parameters, then cookies; the first"
            " place that has one decides.",
        ),
    ] = auth_jwt.Sources()
    remember: Annotated[Remember, Field(description="How long answers are believed.")] = Remember()
    timeout: Annotated[
        meta.Duration, Field(description="How long the issuer may take: 10ms to 10s. Default: 2s.")
    ] = 2.0
    failure: Annotated[
        Failure,
        Field(
            description="While the issuer cannot be asked, or gives no answer that can be read: `Closed`,"
            " requests get 503; `Open`, they pass, without claims. Default: Closed."
        ),
    ] = "Closed"
    optional: Annotated[
        meta.Bool,
        Field(
            description="`true`: requests without a token pass too; a wrong one never does. Default: false."
        ),
    ] = False
    forward: Annotated[meta.Bool, Field(description="The backend gets the token. Default: true.")] = True
    claims_to_headers: Annotated[
        tuple[ClaimHeader, ...], Field(max_length=32, description="Claims that the backend gets as headers.")
    ] = ()
    consumer_claim: Annotated[
        consumer.Path | None,
        Field(
            description="The claim by which Consumers of the policy's namespace are known, such as `sub` or"
            " `client_id`, together with `issuer`, which must be said; dots lead into objects. Texts only."
            " Default: tokens make nobody a Consumer."
        ),
    ] = None


@meta.shape
class RedisKeys(auth_api_keys.KeySources):
    """Requests bring an API key that Redis knows (setting `authz.store`), with an end and a quota of its own.
    The backend does not get the key, but `X-Consumer-ID`, `X-Consumer-Groups` and `X-Consumer-Plan`."""

    WHOLE: ClassVar[bool] = True

    consumers: Annotated[
        tuple[consumer.Name, ...],
        Field(max_length=64, description="Clients that may pass, by name. Default, without `groups`: all."),
    ] = ()
    groups: Annotated[
        tuple[consumer.Name, ...],
        Field(max_length=64, description="Clients in one of these groups may pass."),
    ] = ()
    failure: Annotated[
        Failure,
        Field(
            description="While Redis does not answer: `Closed`, requests get 503; `Open`, they pass, as"
            " nobody's. Default: Closed."
        ),
    ] = "Closed"
    optional: Annotated[
        meta.Bool,
        Field(description="`true`: requests without a key pass too; a wrong one never does. Default: false."),
    ] = False
