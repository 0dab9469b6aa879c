"""Credentials that have served, and are not for the backend: a few lines of Lua (`spent.lua`) take them off
where Envoy's filters do not, or not well.

- Cookies: `oauth2` decrypts those of logins for whoever comes after it, and `jwt_authn` leaves those with
  tokens as they are. Nothing else can change a part of a header.
- Parameters: `jwt_authn` and `api_key_auth` decode the whole query and put it back as it then is, so that a
  client's `%20` or `%26` would stand in the request line as what it stands for. So they are not told to take
  anything off there; the first then takes nothing off headers either.

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
        auth = route.auth
        if auth is None or (auth.jwt is None and auth.login is None and auth.keys is None):
            return None
        spent = _spent(auth.login is not None, auth.jwt, auth.keys)
        return _per_route(spent) if any(spent) else None


FILTER = Spent()


@functools.lru_cache(maxsize=4096)
def _spent(login: bool, jwt: ir.Jwt | None, keys: ir.ApiKeys | None) -> _Spent:
    headers: set[tuple[str, str]] = set()
    params, cookies = set(keys.params if keys is not None else ()), set[str]()
    for one in jwt.providers if jwt is not None else ():
        if not one.forward:
            headers.update(one.places.headers if one.places.params else ())
            params.update(one.places.params)
            cookies.update(one.places.cookies)
    return _Spent(login, tuple(sorted(headers)), tuple(sorted(params)), tuple(sorted(cookies)))


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
