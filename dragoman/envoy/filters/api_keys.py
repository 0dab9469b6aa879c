"""API keys: which client a request comes from.

All keys of a node group stand in the filter's own configuration (ECDS); a route says where the key may be.
So a key that comes or goes touches neither listeners nor routes. Envoy forwards one header, the client; here
it holds all there is to say of it, which `clients` reads and takes off again. Which clients may pass is
`rbac`'s to say. The key itself is not forwarded.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Collection, Hashable, Iterable
from typing import Final, cast

from dragoman import proto
from dragoman.envoy.filters import base
from dragoman.ir import model as ir
from dragoman.proto.envoy.extensions.filters.http.api_key_auth import v3 as api_key_auth
from dragoman.proto.google.protobuf import Value

CLIENT: Final = "x-dragoman-client"
"""The header between this filter and `clients`. Removed from what clients send (`identity`)."""


class ApiKeyAuth:
    """`envoy.filters.http.api_key_auth`."""

    name = "envoy.filters.http.api_key_auth"
    disabled = True
    sensitive = True
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
        message = api_key_auth.ApiKeyAuth()
        owners: dict[str, ir.Client | None] = {}
        for keys in demands:
            for key, client in cast(ir.Keys, keys).credentials:
                # Envoy takes a key once. Of two clients with one key nobody can tell which it is: neither.
                owners[key] = client if owners.get(key, client) == client else None
        for key, owner in sorted(owners.items()):
            if owner is not None:
                message.credentials.add(key=key, client=_client(owner))
        _forwarding(message.forwarding)
        return base.config(message)


FILTER = ApiKeyAuth()


def _forwarding(target: api_key_auth.Forwarding) -> None:
    target.header = CLIENT
    target.hide_credentials = True


@functools.lru_cache(maxsize=4096)
def _per_route(wanted: ir.ApiKeys) -> base.Config:
    message = api_key_auth.ApiKeyAuthPerRoute()
    for header in wanted.headers:
        message.key_sources.add(header=header)
    for param in wanted.params:
        message.key_sources.add(query=param)
    for cookie in wanted.cookies:
        message.key_sources.add(cookie=cookie)
    _forwarding(message.forwarding)
    return base.config(message)


@functools.lru_cache(maxsize=262144)
def _client(client: ir.Client) -> str:
    """All there is to say of a client, as `clients` reads it: a google.protobuf.Value in base64."""
    value = Value()
    said = value.struct_value
    said.fields["id"].string_value = client.id
    said.fields["namespace"].string_value = client.of.namespace
    said.fields["secret"].string_value = client.of.secret
    # Names are unique among the Consumers of a namespace, or the entries of a Secret: limits count by this.
    said.fields["key"].string_value = f"{client.of.namespace}/{client.of.secret}/{client.id}"
    said.fields["plan"].string_value = client.plan
    said.fields["groupList"].string_value = ",".join(client.groups)
    groups = said.fields["groups"].list_value
    groups.SetInParent()
    groups.extend(client.groups)
    return base64.b64encode(proto.serialize(value)).decode()
