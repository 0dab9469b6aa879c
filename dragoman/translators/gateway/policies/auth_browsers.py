"""An AuthPolicy's `cors` and `csrf` -> routes. Called by `auth`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from dragoman.ir import model as ir, origins
from dragoman.translators.gateway.models import auth_browsers, authpolicy, policy

_MAX_AGE: Final = 5


def apply(route: ir.Route, spec: authpolicy.AuthPolicy) -> ir.Route:
    """The route with both. What its own CORS filter says wins as a whole."""
    cors, csrf = policy.on(spec.cors), policy.on(spec.csrf)
    if cors is not None and route.cors is None:
        route = replace(route, cors=_cors(cors))
    return replace(route, csrf=_csrf(csrf)) if csrf is not None else route


@functools.lru_cache(maxsize=4096)
def _cors(given: auth_browsers.Cors) -> ir.Cors:
    plain, patterns = _split(given.allow_origins or ())
    # Several policies may say it together what none may say alone.
    everybody = not {"*", "https://*", "http://*"}.isdisjoint(plain)
    return ir.Cors(
        tuple(map(origins.canonical, plain)),
        given.allow_methods or (),
        given.allow_headers or (),
        given.expose_headers or (),
        bool(given.allow_credentials) and not everybody,
        round(given.max_age) if given.max_age is not None else _MAX_AGE,
        patterns,
    )


@functools.lru_cache(maxsize=4096)
def _csrf(given: auth_browsers.Csrf) -> ir.Csrf:
    return ir.Csrf(*_split(given.additional_origins or ()))


def _split(
    given: Sequence[auth_browsers.OriginMatch | auth_browsers.HostMatch],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is written out, and what are regular expressions."""
    plain = tuple(one.value for one in given if one.type == "Exact")
    return plain, tuple(one.value for one in given if one.type == "RegularExpression")
