"""Cookies of logins end at the gateway: a few lines of Lua (`cookies.lua`) take them off.

Envoy's `oauth2` decrypts the tokens in them for whoever comes after it, and nothing else can change a part of
a header. It stands behind those who may read a token out of a cookie.
"""

from __future__ import annotations

import functools
from importlib import resources

from dragoman.envoy.filters import base
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.route import v3 as route_proto
from dragoman.proto.envoy.extensions.filters.http.lua import v3 as lua


class LoginCookies:
    """An `envoy.filters.http.lua`."""

    name = "dragoman.login_cookies"
    disabled = True

    def config(self) -> base.Config:
        made = lua.Lua()
        made.default_source_code.inline_string = _script()
        made.clear_route_cache.value = False
        made.shared_vm_id = self.name
        return base.config(made)

    def per_route(self, route: ir.Route) -> base.Config | None:
        return _ON if route.auth is not None and route.auth.login is not None else None


FILTER = LoginCookies()


@functools.cache
def _script() -> str:
    return resources.files(__package__).joinpath("cookies.lua").read_text()


def _awake() -> base.Config:
    """As the connection manager has it."""
    message = route_proto.FilterConfig()
    message.config.SetInParent()
    return base.config(message)


_ON = _awake()
