"""Logins of browsers (OpenID Connect) in an AuthPolicy."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dragoman.translators.gateway.models import auth_jwt, meta, policy

Path = Annotated[str, Field(min_length=2, max_length=1024, pattern=r"^/[A-Za-z0-9._~!$&'()*+,;=:@/-]+$")]
Scope = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[!#-\[\]-~]+$")]


@meta.shape
class ClientSecret:
    """An entry of a Secret of the policy's namespace."""

    name: Annotated[meta.ObjectName, Field(description="The Secret's name.")]
    key: Annotated[
        str, Field(min_length=1, max_length=253, description="The entry. Default: `client-secret`.")
    ] = "client-secret"


@meta.shape
class CookieSecret:
    """An entry of a Secret of the policy's namespace."""

    name: Annotated[meta.ObjectName, Field(description="The Secret's name.")]
    key: Annotated[
        str, Field(min_length=1, max_length=253, description="The entry. Default: `cookie-secret`.")
    ] = "cookie-secret"


@meta.shape
class Oidc(policy.Section):
    """Browsers log in at an identity provider (OpenID Connect, authorization code with PKCE). The session is
    kept in encrypted cookies. With `jwt`, the token that the login gave is checked like any other."""

    WHOLE: ClassVar[bool] = True

    issuer: Annotated[
        auth_jwt.Url | None,
        Field(
            description="The provider. Endpoints that are not said come from its"
            " `/.well-known/openid-configuration`. Must be said."
        ),
    ] = None
    authorization_endpoint: Annotated[
        auth_jwt.Url | None, Field(description="Where browsers log in. Default: as the issuer says.")
    ] = None
    token_endpoint: Annotated[
        auth_jwt.Url | None, Field(description="Where codes become tokens. Default: as the issuer says.")
    ] = None
    end_session_endpoint: Annotated[
        auth_jwt.Url | None,
        Field(
            description="Where browsers are sent to log out. Default: as the issuer says, or the host's root."
        ),
    ] = None
    backend_ref: Annotated[
        meta.BackendObjectReference | None,
        Field(
            description="The provider as Envoy reaches it: a Service or Backend, which says whom to trust."
            " Default: the host of the token endpoint, with certificates that the system trusts."
        ),
    ] = None
    client_id: Annotated[
        str | None,
        Field(
            alias="clientID",
            min_length=1,
            max_length=512,
            description="The gateway's name at the provider. Must be said.",
        ),
    ] = None
    client_secret_ref: Annotated[
        ClientSecret | None, Field(description="The gateway's secret at the provider. Must be said.")
    ] = None
    cookie_secret_ref: Annotated[
        CookieSecret | None,
        Field(
            description="What cookies are encrypted and signed with, 32 bytes at least. Default: derived from"
            " the client's secret and the policy's name."
        ),
    ] = None
    client_authentication: Annotated[
        Literal["Body", "Header"] | None,
        Field(
            description="How the gateway shows its secret to the provider: in the form, or by basic"
            " authentication. Default: as the issuer says, else Body."
        ),
    ] = None
    scopes: Annotated[
        tuple[Scope, ...],
        Field(max_length=32, description="What is asked for besides `openid`."),
    ] = ()
    resources: Annotated[
        tuple[auth_jwt.Url, ...],
        Field(max_length=8, description="What the tokens are to be for (RFC 8707). Default: not said."),
    ] = ()
    redirect_path: Annotated[
        Path,
        Field(
            description="Where the provider sends browsers back to: `/oauth2/callback` unless said. It must"
            " lie under the policy, and two policies on one host need different ones."
        ),
    ] = "/oauth2/callback"
    logout_path: Annotated[
        Path, Field(description="Ends the session. Default: `/logout`. It must lie under the policy.")
    ] = "/logout"
    refresh_tokens: Annotated[
        meta.Bool, Field(description="Sessions go on by refresh tokens, where there are any. Default: true.")
    ] = True
    token: Annotated[
        Literal["AccessToken", "IdToken"],
        Field(description="Which token `jwt` checks, and the backend may get. Default: AccessToken."),
    ] = "AccessToken"
    forward_token: Annotated[
        meta.Bool,
        Field(description="`true`: the backend gets the token as `Authorization: Bearer`. Default: false."),
    ] = False
    timeout: Annotated[
        meta.Duration, Field(description="How long to wait for the provider: 100ms to 60s. Default: 5s.")
    ] = 5.0
