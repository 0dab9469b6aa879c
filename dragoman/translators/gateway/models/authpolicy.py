"""AuthPolicy (dragoman.dev/v1alpha1): who may pass.

It fails closed: under a policy that cannot be put into force, requests are answered 500 and reach no backend.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dragoman.translators.gateway.models import (
    auth_answers,
    auth_api_keys,
    auth_basic,
    auth_browsers,
    auth_certificate,
    auth_external,
    auth_jwt,
    auth_lookups,
    auth_oidc,
    auth_routing,
    auth_rules,
    meta,
    policy,
)


@meta.shape
class AuthPolicy(policy.Policy):
    """AuthPolicySpec."""

    combine: Annotated[
        Literal["All", "Any"] | None,
        Field(
            description="`All`: all of `jwt`, `basic`, `apiKeys`, `clientCertificate`, `introspection` and"
            " `redisKeys` that are on are needed. `Any`: one of them is enough; a wrong one is refused all"
            " the same. With `oidc`, and with both `jwt` and `introspection`, always All. Default: All."
        ),
    ] = None
    exclude: Annotated[
        tuple[auth_rules.Excluded, ...] | None,
        Field(
            max_length=16,
            description="Requests that need no token, password, key or certificate; wrong ones are refused"
            " there too, and `rules` hold. Not with `oidc`, nor with both `jwt` and `introspection`.",
        ),
    ] = None
    jwt: Annotated[auth_jwt.Jwt | None, Field(description="Tokens (JWT) of issuers that are trusted.")] = None
    api_keys: Annotated[
        auth_api_keys.ApiKeys | None,
        Field(description="API keys, of Consumers and of Secrets. With `jwt`, both are needed."),
    ] = None
    basic: Annotated[
        auth_basic.Basic | None, Field(description="User names and passwords. With `jwt`, both are needed.")
    ] = None
    oidc: Annotated[auth_oidc.Oidc | None, Field(description="Browsers log in (OpenID Connect).")] = None
    client_certificate: Annotated[
        auth_certificate.ClientCertificate | None,
        Field(description="Client certificates. With `jwt` or `apiKeys`, both are needed."),
    ] = None
    introspection: Annotated[
        auth_lookups.Introspection | None,
        Field(description="Tokens that are looked up where they were issued. With `jwt`, both are needed."),
    ] = None
    redis_keys: Annotated[
        auth_lookups.RedisKeys | None,
        Field(description="API keys that Redis knows, with an end and a quota. Not with `apiKeys`."),
    ] = None
    external: Annotated[
        auth_external.External | None, Field(description="A service that is asked whether a request passes.")
    ] = None
    cors: Annotated[auth_browsers.Cors | None, Field(description="Pages of other origins that may ask.")] = (
        None
    )
    csrf: Annotated[
        auth_browsers.Csrf | None, Field(description="Refuses what pages of other hosts try to change.")
    ] = None
    answers: Annotated[
        auth_answers.Answers | None, Field(description="Other answers to those who may not pass.")
    ] = None
    rules: Annotated[auth_rules.Rules | None, Field(description="What must be proven, and by whom.")] = None
    routing: Annotated[
        auth_routing.Routing | None,
        Field(description="Other backends for requests whose token says so. For routes and rules only."),
    ] = None


@meta.excerpt
class Broken(policy.Policy):
    """What is read of an AuthPolicy that is wrong: what it protects. That is closed."""
