"""Credentials that have served, and are not for the backend: a few lines of Lua (`spent.lua`) take them off
where Envoy's filters do not, or not well.

- Cookies: `oauth2` decrypts those of logins for whoever comes after it, and `jwt_authn` leaves those with
  tokens as they are. Nothing else can change a part of a header.
- Parameters: `jwt_authn` and `api_key_auth` decode the whole query and put it back as it then is, so that a
  client's `%20` or `%26` would stand in the request line as what it stands for. So they are not told to take
  anything off there; the first then takes nothing off headers either.
- What the companion looks up, wherever it was: also while it is away.

It stands behind those who may read a credential.
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import NamedTuple

from dragoman.envoy.filters import base
from dragoman.ir import model as ir
from dragoman.proto.envoy.extensions.filters.http.lua import v3 as lua


class _Spent(NamedTuple):
    """`headers`: (name, what stands before the credential)."""

    login: bool
    headers: ir.Pairs
    params: tuple[str, ...]
    cookies: tuple[str, ...]


class Spent:
    """An `envoy.filters.http.lua`."""

    name = "dragoman.spent"
    disabled = True

    def config(self) -> base.Config:
        made = lua.Lua()
        made.default_source_code.inline_string = (
            resources.files(__package__).joinpath("spent.lua").read_text()
        )
        made.clear_route_cache.value = False  # a route is chosen once
        made.shared_vm_id = self.name
        return base.config(made)

    def per_route(self, route: ir.Route) -> base.Config | None:
        spent = _spent(route.auth) if route.auth is not None else None
        return _per_route(spent) if spent is not None and any(spent) else None


FILTER = Spent()


def _spent(auth: ir.Auth) -> _Spent:
    emptied: list[ir.Places] = []
    for provider in auth.jwt.providers if auth.jwt is not None else ():
        if not provider.forward:
            places = provider.places
            emptied.append(places if places.params else ir.Places(cookies=places.cookies))
    if auth.keys is not None:
        emptied.append(ir.Places(params=auth.keys.params))
    if auth.introspection is not None and not auth.introspection.forward:
        emptied.append(auth.introspection.places)
    if auth.redis_keys is not None:
        emptied.append(auth.redis_keys.places)
    return _Spent(
        auth.login is not None,
        tuple(sorted({one for places in emptied for one in places.headers})),
        tuple(sorted({one for places in emptied for one in places.params})),
        tuple(sorted({one for places in emptied for one in places.cookies})),
    )


@functools.lru_cache(maxsize=1024)
def _per_route(spent: _Spent) -> base.Config:
    made = lua.LuaPerRoute()
    made.filter_context["login"] = spent.login
    made.filter_context.get_or_create_list("params").extend(spent.params)
    made.filter_context.get_or_create_list("cookies").extend(spent.cookies)
    headers = made.filter_context.get_or_create_list("headers")
    for name, prefix in spent.headers:
        entry = headers.add_struct()
        entry["name"], entry["prefix"] = name, prefix
    return base.config(made)
