"""Clients that were recognised by a credential: from one header into metadata, and to the backend.

`api_keys`, `consumers` or `authz` leave one header that says all of the client. The first filter here takes
it off and makes it metadata of the request, for rules, limits and logs; the second tells the backend, in
headers of which no client can bring its own (`identity`).
"""

from __future__ import annotations

from typing import Final

from dragoman.envoy.filters import base, credentials, mutations
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.extensions.filters.http.header_mutation import v3 as header_mutation
from dragoman.proto.envoy.extensions.filters.http.header_to_metadata import v3 as header_to_metadata

NAMESPACE: Final = "dragoman.client"
CLIENT: Final = "client"
"""Namespace and key of the client in dynamic metadata: `id`, `namespace`, `secret`, `key` (all of these),
`plan`, `groups`, and by what it is known (`via`; of an API key also which: `credential`)."""

HEADERS: Final = (("x-consumer-id", "id"), ("x-consumer-groups", "groupList"), ("x-consumer-plan", "plan"))
"""What the backend gets. Without groups or plan there is no such header."""


class Clients:
    """`envoy.filters.http.header_to_metadata`, under a name of its own."""

    name = "dragoman.clients"
    disabled = True

    def config(self) -> base.Config:
        return _METADATA

    def per_route(self, route: ir.Route) -> base.Config | None:
        return _METADATA if known(route) else None


class Told(mutations.Mutations):
    """`envoy.filters.http.header_mutation`, under a name of its own."""

    name = "dragoman.client_headers"

    def per_route(self, route: ir.Route) -> base.Config | None:
        return _TOLD if known(route) else None


def known(route: ir.Route) -> bool:
    """Whether a route asks who its clients are."""
    auth = route.auth
    if auth is None:
        return False
    return auth.keys is not None or auth.redis_keys is not None or bool(credentials.known_by(auth))


def _metadata() -> base.Config:
    message = header_to_metadata.Config()
    rule = message.request_rules.add(header=credentials.CLIENT, remove=True)
    rule.on_header_present.metadata_namespace = NAMESPACE
    rule.on_header_present.key = CLIENT
    rule.on_header_present.type = header_to_metadata.Config.PROTOBUF_VALUE
    rule.on_header_present.encode = header_to_metadata.Config.BASE64
    return base.config(message)


def _told() -> base.Config:
    message = header_mutation.HeaderMutationPerRoute()
    for header, field in HEADERS:
        append = message.mutations.request_mutations.add().append
        append.header.key = header
        append.header.value = f"%DYNAMIC_METADATA({NAMESPACE}:{CLIENT}:{field})%"
        append.append_action = core.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    return base.config(message)


_METADATA: Final = _metadata()
_TOLD: Final = _told()
FILTER = Clients()
TOLD = Told()
