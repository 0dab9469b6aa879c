"""What Envoy answers by itself to those who may not pass: JSON with a machine-readable `error`.

The same in every connection manager, since it is chosen by what happened (`refusals`) and filled in from the
route's metadata: nothing here changes with the configuration. 401 says "who are you" (RFC 9110, 15.5.2) and
what with, 403 "you may not".
"""

from __future__ import annotations

import re
from typing import Final

from dragoman import proto
from dragoman.envoy import refusals
from dragoman.envoy.filters import jwt_authn
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.accesslog import v3 as log
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.config.route import v3 as route_proto
from dragoman.proto.envoy.extensions.access_loggers.filters.cel import v3 as cel
from dragoman.proto.envoy.extensions.filters.network.http_connection_manager import v3 as hcm

NAMESPACE: Final = "dragoman"
"""Of the metadata that a route carries for its answers."""

CURRENT_SCOPES: Final = f"%DYNAMIC_METADATA({jwt_authn.FILTER.name}:{jwt_authn.PAYLOAD}:scope)%"
"""The scopes of the token that was brought."""

_OF_ROUTE: Final = f"xds.route_metadata.filter_metadata['{NAMESPACE}']"
_SCOPE: Final = re.compile(r"[!#-\[\]-~]+")
"""A scope as RFC 6749 (3.3) has it: what can stand in a header."""


_ROUTERS: Final = ("NR", "NC", "UH", "UF", "UO", "UC", "UT", "UR", "LR")
"""Response flags: no route, no cluster, and what went wrong with a backend."""


def mark(target: route_proto.Route, auth: ir.Auth) -> None:
    """Writes what the answers of a route say of it."""
    if auth.scopes:
        fields = target.metadata.filter_metadata[NAMESPACE].fields
        fields["scopes"].list_value.extend(auth.scopes)
        fields["scope"].string_value = " ".join(one for one in auth.scopes if _SCOPE.fullmatch(one))
    if auth.login is not None:
        target.metadata.filter_metadata[NAMESPACE].fields["login"].bool_value = True


def write_others(target: hcm.LocalReplyConfig) -> None:
    """What stays as it is: redirects and other answers that routes give, and what the router says of routes
    and backends. To be written first: Envoy goes through the rest by CEL, which costs 20 us an answer."""
    either = target.mappers.add().filter.or_filter.filters
    comparison = either.add().status_code_filter.comparison
    comparison.op = log.ComparisonFilter.LE
    comparison.value.default_value = 399
    comparison.value.runtime_key = "dragoman.answers"  # Envoy wants one; nobody sets it
    either.add().response_flag_filter.flags.extend(_ROUTERS)


def write(manager: hcm.HttpConnectionManager) -> None:
    """Adds the answers to a connection manager."""
    for one in refusals.REFUSALS:
        mapper = manager.local_reply_config.mappers.add()
        mapper.filter.extension_filter.name = "cel"
        mapper.filter.extension_filter.typed_config.CopyFrom(
            proto.pack_any(cel.ExpressionFilter(expression=_expression(one)))
        )
        mapper.status_code.value = one.status
        body = {"error": one.error, "message": one.message}
        if one.error == "invalid_token":
            body["message"] = "%LOCAL_REPLY_BODY%"  # what is wrong with it
        if one.scoped:
            body["requiredScopes"] = f"%METADATA(ROUTE:{NAMESPACE}:scopes)%"
            body["currentScopes"] = CURRENT_SCOPES
        mapper.body_format_override.json_format.update(dict(body))
        if challenge := _challenge(one):
            asked = mapper.headers_to_add.add()
            asked.header.key = "www-authenticate"
            asked.header.value = challenge
            asked.append_action = core.HeaderValueOption.ADD_IF_ABSENT


def _expression(one: refusals.Refusal) -> str:
    """Routes without the metadata make these expressions fail, which counts as false."""
    parts = [refusals.text(one.clues)]
    if one.asks == "login":
        parts.insert(0, f"has({_OF_ROUTE}.login)")
    if one.scoped:
        parts.insert(0, f"has({_OF_ROUTE}.scopes)")
    if one.was:
        parts.insert(0, f"response.code == {one.was}")
    return " && ".join(f"({part})" if " || " in part and len(parts) > 1 else part for part in parts)


def _challenge(one: refusals.Refusal) -> str:
    """RFC 6750, section 3.1, has one for lack of scope, too."""
    if one.scoped:
        return f'Bearer error="insufficient_scope", scope="%METADATA(ROUTE:{NAMESPACE}:scope)%"'
    return one.challenge
