"""Headers that tell backends who a client is: no client may bring them along.

The filters that find out who somebody is set such headers, but only on routes that ask them to. This one
drops the client's own copies on every route, also where nobody is asked: backends must be able to believe
what they say. The names of the headers come by ECDS, from what all routes of a node group set. It comes
before the filters that set them, and is awake everywhere. While there are no such headers, what comes by ECDS
is a filter chain without filters, which costs requests nothing: an idle filter costs each of them 2 us.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from typing import Final

from dragoman import proto
from dragoman.envoy import authz
from dragoman.envoy.filters import authz as lookups, base, clients, credentials
from dragoman.ir import cache, model as ir
from dragoman.proto.envoy.extensions.filters.http.filter_chain import v3 as filter_chain
from dragoman.proto.envoy.extensions.filters.http.header_mutation import v3 as header_mutation

NOTHING: Final = proto.type_url(filter_chain.FilterChainConfig)
"""The type of its configuration while there is nothing to drop."""


class Identity:
    """`envoy.filters.http.header_mutation`, under a name of its own."""

    name = "dragoman.identity"
    disabled = False
    sensitive = False
    type_url = proto.type_url("envoy.extensions.filters.http.header_mutation.v3.HeaderMutation")

    def per_route(self, route: ir.Route) -> None:
        del route  # the same for all

    def demands(self, route: ir.Route) -> Iterable[str]:
        names: list[str] = []
        if route.auth is not None and route.auth.jwt is not None:
            for one in route.auth.jwt.providers:
                names += (one.payload_header, *(header for header, _ in (*one.claims, *one.lists)))
        if clients.known(route):
            names += (*credentials.BETWEEN, *(header for header, _ in clients.HEADERS))
        if route.auth is not None and route.auth.login is not None:
            names.append(ir.ID_TOKEN[0])
        if route.auth is not None and route.auth.basic is not None:
            names.append(route.auth.basic.header)
        if route.auth is not None and route.auth.introspection is not None:
            names += (authz.TOKEN, *route.auth.introspection.headers)
        if route.auth is not None and lookups.opens(route.auth):
            names.append(lookups.AWAY)
        if route.auth is not None and route.auth.external is not None:
            told = route.auth.external.to_backend
            names += (name for name in told if name.lower() not in cache.CREDENTIALS)
        return [name.lower() for name in names if name]

    def slot(self, part: Hashable) -> Hashable:
        return part

    def shared(self, demands: Collection[Hashable]) -> base.Config:
        if not demands:
            return base.config(filter_chain.FilterChainConfig())
        message = header_mutation.HeaderMutation()
        for name in sorted(map(str, demands)):
            message.mutations.request_mutations.add().remove = name
        return base.config(message)


FILTER = Identity()
