"""Session persistence (Gateway API v1.6, SessionPersistence): a cookie or header that names the endpoint.

The value is the endpoint's address, so it survives restarts of the gateway and needs no table. An endpoint
that is gone or not healthy is replaced by another one (not strict).
"""

from __future__ import annotations

import functools
from typing import assert_never

from dragoman import proto
from dragoman.envoy import durations
from dragoman.envoy.filters import base
from dragoman.ir import model as ir
from dragoman.proto.envoy.extensions.filters.http.stateful_session import v3 as stateful_session
from dragoman.proto.envoy.extensions.http.stateful_session.cookie import v3 as cookie
from dragoman.proto.envoy.extensions.http.stateful_session.header import v3 as header


class StatefulSession:
    """`envoy.filters.http.stateful_session`."""

    name = "envoy.filters.http.stateful_session"
    disabled = True

    def config(self) -> base.Config:
        return base.config(stateful_session.StatefulSession())

    def per_route(self, route: ir.Route) -> base.Config | None:
        if isinstance(route.action, ir.Forward) and route.action.session is not None:
            return _per_route(route.action.session)
        return None


FILTER = StatefulSession()


@functools.lru_cache(maxsize=1024)
def _per_route(session: ir.SessionPersistence) -> base.Config:
    state: proto.Message
    match session.kind:
        case ir.SessionKind.COOKIE:
            state = by_cookie = cookie.CookieBasedSessionState()
            by_cookie.cookie.name = session.name
            by_cookie.cookie.path = session.path
            if session.ttl:
                durations.assign(by_cookie.cookie.ttl, session.ttl)
            name = "envoy.http.stateful_session.cookie"
        case ir.SessionKind.HEADER:
            state = header.HeaderBasedSessionState(name=session.name)
            name = "envoy.http.stateful_session.header"
        case _:
            assert_never(session.kind)
    override = stateful_session.StatefulSessionPerRoute()
    override.stateful_session.session_state.name = name
    override.stateful_session.session_state.typed_config.CopyFrom(proto.pack_any(state))
    return base.config(override)
