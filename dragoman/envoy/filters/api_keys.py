"""API keys: which client a request comes from.

All keys of a node group stand in the filter's own configuration (ECDS), spread over shards; a route says
where the key may be. So a key that comes or goes touches one shard, and neither listeners nor routes. Envoy
forwards one header, the client; here it holds all there is to say of it, which `clients` reads and takes off
again. Which clients may pass is `rbac`'s to say. The key itself is not forwarded.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Hashable, Iterable
from typing import cast

from dragoman import proto
from dragoman.envoy.filters import base, credentials, described
from dragoman.ir import model as ir
from dragoman.proto.envoy.extensions.filters.http.api_key_auth import v3 as api_key_auth


class ApiKeyAuth:
    """`envoy.filters.http.api_key_auth`."""

    name = "envoy.filters.http.api_key_auth"
    disabled = True
    sensitive = True
    by = credentials.KEY
    type_url = proto.type_url("envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth")

    def per_route(self, route: ir.Route) -> base.Config | None:
        if route.auth is None or route.auth.keys is None:
            return None
        return _per_route(route.auth.keys)

    def demands(self, route: ir.Route) -> Iterable[ir.KeySet]:
        return route.auth.keys.sets if route.auth is not None and route.auth.keys is not None else ()

    def slot(self, part: Hashable) -> Hashable:
        return part

    def shared(self, demands: Collection[Hashable]) -> base.Config:
        owners: dict[str, ir.Client | None] = {}
        for keys in demands:
            for key, client in cast(ir.Keys, keys).credentials:
                # Envoy takes a key once. Of two clients with one key nobody can tell which it is: neither.
                owners[key] = client if owners.get(key, client) == client else None
        owners.pop(credentials.NOBODY, None)
        rope = [
            _credential(key, owner, owner.credential)
            for key, owner in sorted(owners.items())
            if owner is not None
        ]
        return base.Config(self.type_url, b"".join((*rope, _REST)))


FILTER = ApiKeyAuth()


def _forwarding(target: api_key_auth.Forwarding) -> None:
    target.header = credentials.CLIENT
    target.hide_credentials = True


@functools.lru_cache(maxsize=4096)
def _per_route(wanted: ir.ApiKeys) -> base.Config:
    """The key comes by `credentials`. The places where clients put it are told too, to be cleared; but for
    the query, which Envoy would change (`spent`)."""
    message = api_key_auth.ApiKeyAuthPerRoute()
    message.key_sources.add(header=credentials.KEY)
    for header in wanted.headers:
        message.key_sources.add(header=header)
    for cookie in wanted.cookies:
        message.key_sources.add(cookie=cookie)
    _forwarding(message.forwarding)
    return base.config(message)


@functools.lru_cache(maxsize=1 << 18)
def _credential(key: str, owner: ir.Client, name: str) -> bytes:
    """One entry, as it stands in the whole."""
    message = api_key_auth.ApiKeyAuth()
    message.credentials.add(key=key, client=described.client(owner, "key", name))
    return proto.serialize(message)


def _rest() -> bytes:
    message = api_key_auth.ApiKeyAuth()
    message.credentials.add(key=credentials.NOBODY, client=credentials.NOBODYS)
    _forwarding(message.forwarding)
    return proto.serialize(message)


_REST = _rest()
