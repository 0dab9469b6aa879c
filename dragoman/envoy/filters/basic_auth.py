"""User names and passwords (RFC 7617), by Envoy's `basic_auth`.

Routes say who may pass. What stands in the connection manager lets nobody in: Envoy wants one user at least,
so there is one whose hash no password has. The second filter here tells the backend who it is, and takes the
password off, which Envoy's leaves where it was.
"""

from __future__ import annotations

import base64
import functools
from typing import Final

from dragoman.envoy.filters import base
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.extensions.filters.http.basic_auth import v3 as basic_auth
from dragoman.proto.envoy.extensions.filters.http.header_mutation import v3 as header_mutation

_NOBODY: Final = ("nobody", bytes(20))


class BasicAuth:
    """`envoy.filters.http.basic_auth`."""

    name = "envoy.filters.http.basic_auth"
    disabled = True

    def config(self) -> base.Config:
        message = basic_auth.BasicAuth(emit_dynamic_metadata=True)
        message.users.inline_string = _lines((_NOBODY,))
        return base.config(message)

    def per_route(self, route: ir.Route) -> base.Config | None:
        return _users(route.auth.basic) if route.auth is not None and route.auth.basic is not None else None


class Told:
    """`envoy.filters.http.header_mutation`, under a name of its own."""

    name = "dragoman.basic_user"
    disabled = True

    def config(self) -> base.Config:
        return base.config(header_mutation.HeaderMutation())

    def per_route(self, route: ir.Route) -> base.Config | None:
        return _told(route.auth.basic) if route.auth is not None and route.auth.basic is not None else None


FILTER = BasicAuth()
TOLD = Told()


@functools.lru_cache(maxsize=1024)
def _users(wanted: ir.Basic) -> base.Config:
    message = basic_auth.BasicAuthPerRoute(realm=wanted.realm)
    message.users.inline_string = _lines(wanted.users or (_NOBODY,))
    return base.config(message)


@functools.lru_cache(maxsize=1024)
def _told(wanted: ir.Basic) -> base.Config:
    message = header_mutation.HeaderMutationPerRoute()
    append = message.mutations.request_mutations.add().append
    append.header.key = wanted.header
    append.header.value = f"%DYNAMIC_METADATA({FILTER.name}:username)%"
    append.append_action = core.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    if not wanted.forward:
        message.mutations.request_mutations.add().remove = "authorization"
    return base.config(message)


def _lines(users: tuple[tuple[str, bytes], ...]) -> str:
    return "\n".join(f"{name}:{{SHA}}{base64.b64encode(digest).decode()}" for name, digest in users)
