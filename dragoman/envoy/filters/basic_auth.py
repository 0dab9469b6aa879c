"""User names and passwords (RFC 7617), by Envoy's `basic_auth`.

Routes say who may pass. What stands in the connection manager lets nobody in: Envoy wants one user at least,
so there is one whose hash no password has. The second filter here tells the backend who it is, and takes the
password off, which Envoy's leaves where it was.
"""

from __future__ import annotations

import base64
import functools
from typing import Final

from dragoman.envoy.filters import base, mutations
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.extensions.filters.http.basic_auth import v3 as basic_auth
from dragoman.proto.envoy.extensions.filters.http.header_mutation import v3 as header_mutation

_NOBODY: Final = ("nobody", bytes(20))


class BasicAuth:
    """`envoy.filters.http.basic_auth`, for routes that need a password, or take one (`optional`): that cannot
    be told by route."""

    disabled = True

    def __init__(self, name: str, *, optional: bool) -> None:
        self.name = name
        self._optional = optional

    def config(self) -> base.Config:
        message = basic_auth.BasicAuth(emit_dynamic_metadata=True, allow_missing=self._optional)
        message.users.inline_string = _lines((_NOBODY,))
        return base.config(message)

    def per_route(self, route: ir.Route) -> base.Config | None:
        wanted = route.auth.basic if route.auth is not None else None
        return _users(wanted) if wanted is not None and wanted.optional == self._optional else None


class Told(mutations.Mutations):
    """`envoy.filters.http.header_mutation`, under a name of its own."""

    name = "dragoman.basic_user"

    def per_route(self, route: ir.Route) -> base.Config | None:
        return _told(route.auth.basic) if route.auth is not None and route.auth.basic is not None else None


_NEEDED: Final = BasicAuth("envoy.filters.http.basic_auth", optional=False)
_OPTIONAL: Final = BasicAuth("dragoman.basic_optional", optional=True)
FILTERS: Final = (_NEEDED, _OPTIONAL)
TOLD = Told()


def found(wanted: ir.Basic) -> tuple[str, str]:
    """Namespace and key of the name in dynamic metadata: Envoy takes the filter's name for the first."""
    return (_OPTIONAL if wanted.optional else _NEEDED).name, "username"


@functools.lru_cache(maxsize=1024)
def _users(wanted: ir.Basic) -> base.Config:
    message = basic_auth.BasicAuthPerRoute(realm=wanted.realm)
    message.users.inline_string = _lines(wanted.users or (_NOBODY,))
    return base.config(message)


@functools.lru_cache(maxsize=1024)
def _told(wanted: ir.Basic) -> base.Config:
    message = header_mutation.HeaderMutationPerRoute()
    space, name = found(wanted)
    append = message.mutations.request_mutations.add().append
    append.header.key = wanted.header
    append.header.value = f"%DYNAMIC_METADATA({space}:{name})%"
    append.append_action = core.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    if not wanted.forward and wanted.optional:
        # What is no password (a token) goes on.
        there = f'"{space}" in metadata.filter_metadata && "{name}" in metadata.filter_metadata["{space}"]'
        taken = message.mutations.request_mutations.add().append
        taken.header.key = "authorization"
        taken.header.value = f'%CEL({there} ? "Basic" : "")%'
        taken.append_action = core.HeaderValueOption.OVERWRITE_IF_EXISTS
    elif not wanted.forward:
        message.mutations.request_mutations.add().remove = "authorization"
    return base.config(message)


def _lines(users: tuple[tuple[str, bytes], ...]) -> str:
    return "\n".join(f"{name}:{{SHA}}{base64.b64encode(digest).decode()}" for name, digest in users)
