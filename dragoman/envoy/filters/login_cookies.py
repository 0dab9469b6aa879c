"""Cookies with tokens end at the gateway: a few lines of Lua (`cookies.lua`) take them off.

Envoy's `oauth2` decrypts the tokens in a login's cookies for whoever comes after it. And `jwt_authn` takes
tokens that are not to be forwarded out of headers and the query alone. Nothing else can change a part of a
header. It stands behind those who may read a token out of a cookie.
"""

from __future__ import annotations

import functools
from importlib import resources

from dragoman.envoy.filters import base
from dragoman.ir import model as ir
from dragoman.proto.envoy.extensions.filters.http.lua import v3 as lua


class LoginCookies:
    """An `envoy.filters.http.lua`."""

    name = "dragoman.login_cookies"
    disabled = True

    def config(self) -> base.Config:
        made = lua.Lua()
        made.default_source_code.inline_string = (
            resources.files(__package__).joinpath("cookies.lua").read_text()
        )
        made.clear_route_cache.value = False
        made.shared_vm_id = self.name
        return base.config(made)

    def per_route(self, route: ir.Route) -> base.Config | None:
        auth = route.auth
        if auth is None:
            return None
        providers = auth.jwt.providers if auth.jwt is not None else ()
        names = {name for one in providers if not one.forward for name in one.cookies}
        if auth.login is None and not names:
            return None
        return _per_route(auth.login is not None, tuple(sorted(names)))


FILTER = LoginCookies()


@functools.lru_cache(maxsize=1024)
def _per_route(login: bool, names: tuple[str, ...]) -> base.Config:
    made = lua.LuaPerRoute()
    made.filter_context["login"] = login
    made.filter_context.get_or_create_list("names").extend(names)
    return base.config(made)
