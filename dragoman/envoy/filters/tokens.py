"""Claims of tokens that were looked up: from a header of the companion's into metadata.

They go where the claims of checked tokens (JWT) are, so that rules, limits and answers read both alike. No
client can bring the header along (`identity`). That they were looked up is noted beside them, since they
stand where a checked token's might. Comes behind `authz`.
"""

from __future__ import annotations

from typing import Final

from dragoman.envoy import authz
from dragoman.envoy.filters import base, jwt_authn
from dragoman.ir import model as ir
from dragoman.proto.envoy.extensions.filters.http.header_to_metadata import v3 as header_to_metadata

LOOKED_UP: Final = ("dragoman.tokens", "looked_up")
"""Namespace and key of what is there where a token was looked up, and is active."""


class Tokens:
    """`envoy.filters.http.header_to_metadata`, under a name of its own."""

    name = "dragoman.tokens"
    disabled = True

    def config(self) -> base.Config:
        return _METADATA

    def per_route(self, route: ir.Route) -> base.Config | None:
        return _METADATA if route.auth is not None and route.auth.introspection is not None else None


def _metadata() -> base.Config:
    message = header_to_metadata.Config()
    noted = message.request_rules.add(header=authz.TOKEN).on_header_present
    noted.metadata_namespace, noted.key = LOOKED_UP
    noted.value = "yes"
    rule = message.request_rules.add(header=authz.TOKEN, remove=True)
    rule.on_header_present.metadata_namespace = jwt_authn.FILTER.name
    rule.on_header_present.key = jwt_authn.PAYLOAD
    rule.on_header_present.type = header_to_metadata.Config.PROTOBUF_VALUE
    rule.on_header_present.encode = header_to_metadata.Config.BASE64
    return base.config(message)


_METADATA: Final = _metadata()
FILTER = Tokens()
