"""What Envoy answers by itself to those who may not pass: JSON with a machine-readable `error`.

The same in every connection manager, since it is chosen by what happened (response code details) and filled
in from the route's metadata: nothing here changes with the configuration. 401 says "who are you" (RFC 9110,
15.5.2), 403 "you may not".
"""

from __future__ import annotations

from typing import Final

from dragoman import proto
from dragoman.envoy.filters import jwt_authn
from dragoman.proto.envoy.extensions.access_loggers.filters.cel import v3 as cel
from dragoman.proto.envoy.extensions.filters.network.http_connection_manager import v3 as hcm

NAMESPACE: Final = "dragoman"
"""Of the metadata that a route carries for its answers."""

_DETAILS: Final = "response.code_details"
_OF_ROUTE: Final = f"xds.route_metadata.filter_metadata['{NAMESPACE}']"
_CLAIMS: Final = f"{jwt_authn.FILTER.name}:{jwt_authn.PAYLOAD}"

_ANSWERS: Final[tuple[tuple[str, int, dict[str, str]], ...]] = (
    (
        f"{_DETAILS}.startsWith('jwt_authn_access_denied{{Jwt_is_expired')",
        401,
        {"error": "token_expired", "message": "the token has expired"},
    ),
    (
        f"{_DETAILS}.startsWith('jwt_authn_access_denied{{Jwt_is_missing')",
        401,
        {"error": "unauthorized", "message": "a token is needed"},
    ),
    (
        f"{_DETAILS}.startsWith('jwt_authn_access_denied')",
        401,  # Envoy says 403 to a token for another audience
        {"error": "invalid_token", "message": "%LOCAL_REPLY_BODY%"},
    ),
    (
        f"{_DETAILS} == 'missing_api_key'",
        401,
        {"error": "unauthorized", "message": "an API key is needed"},
    ),
    (
        f"{_DETAILS} == 'unknown_api_key' || {_DETAILS} == 'missing_credentials'",
        401,
        {"error": "invalid_key", "message": "the API key is not known"},
    ),
    (
        f"{_DETAILS} == 'no_credential_for_basic_auth' || {_DETAILS} == 'invalid_scheme_for_basic_auth'",
        401,
        {"error": "unauthorized", "message": "a user name and a password are needed"},
    ),
    (
        f"{_DETAILS} == 'invalid_credential_for_basic_auth' || {_DETAILS} == 'invalid_format_for_basic_auth'",
        401,
        {"error": "invalid_credentials", "message": "the user name or the password is wrong"},
    ),
    (
        f"has({_OF_ROUTE}.login) && {_DETAILS}.matches('^OAuth2.secrets')",
        503,
        {"error": "unavailable", "message": "the gateway cannot let anybody log in yet"},
    ),
    (
        f"has({_OF_ROUTE}.login) && {_DETAILS}.matches('^Failed.to.get.access.token:[^0-9]*5')",
        503,
        {"error": "unavailable", "message": "nobody can log in at the moment"},
    ),
    (
        # Of all filters, this one alone begins its details with a capital letter.
        f"has({_OF_ROUTE}.login) && response.code == 401 && {_DETAILS}.matches('^[A-Z]')",
        401,
        {"error": "unauthorized", "message": "a login is needed"},
    ),
    (
        f"{_DETAILS} == 'ext_authz_error'",  # nobody can be asked: not the client's fault
        503,
        {"error": "unavailable", "message": "the gateway cannot find out who may pass"},
    ),
    (
        f"{_DETAILS} == 'csrf_origin_mismatch'",
        403,
        {"error": "forbidden", "message": "the request comes from a page of another site"},
    ),
    (
        f"{_DETAILS}.startsWith('rbac_access_denied') && has({_OF_ROUTE}.scopes)",
        403,
        {
            "error": "insufficient_scope",
            "message": "the token may not do this",
            "requiredScopes": f"%METADATA(ROUTE:{NAMESPACE}:scopes)%",
            "currentScopes": f"%DYNAMIC_METADATA({_CLAIMS}:scope)%",
        },
    ),
    (
        f"{_DETAILS}.startsWith('rbac_access_denied')",
        403,
        {"error": "forbidden", "message": "you may not do this"},
    ),
)
"""What happened, the status, the body. The first that holds is taken."""

_CHALLENGE: Final = "ApiKey"
"""What a request without a good key is asked for (RFC 9110, 11.6.1): the filter for tokens says it itself,
that for keys does not."""


def write(manager: hcm.HttpConnectionManager) -> None:
    """Adds the answers to a connection manager."""
    for happened, status, body in _ANSWERS:
        mapper = manager.local_reply_config.mappers.add()
        mapper.filter.extension_filter.name = "cel"
        mapper.filter.extension_filter.typed_config.CopyFrom(
            proto.pack_any(cel.ExpressionFilter(expression=happened))
        )
        mapper.status_code.value = status
        mapper.body_format_override.json_format.update(dict(body))
        if "api_key" in happened:
            challenge = mapper.headers_to_add.add()
            challenge.header.key = "www-authenticate"
            challenge.header.value = _CHALLENGE
