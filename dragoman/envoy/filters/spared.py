"""Requests that bring nothing to be looked up, where nothing must be brought: nobody is asked about them.

So they pass, or are refused (`methods`), also while the companion is away: what needs no credential does not
depend on it. A dry run of `rbac` finds out by the places where credentials may be, and leaves in metadata
what switches `authz` off. Whatever might be a credential is asked about.
"""

from __future__ import annotations

import functools
from typing import Final

from dragoman.envoy.filters import base, rbac as rules
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.rbac import v3 as config
from dragoman.proto.envoy.extensions.filters.http.rbac import v3 as rbac
from dragoman.proto.envoy.type.matcher import v3 as matcher

_PREFIX: Final = "dragoman_spared_"
_FOUND: Final = ("envoy.filters.http.rbac", f"{_PREFIX}shadow_engine_result")
"""Namespace and key of dynamic metadata."""


class Spared:
    """`envoy.filters.http.rbac`, under a name of its own."""

    name = "dragoman.spared"
    disabled = True

    def config(self) -> base.Config:
        return base.config(rbac.RBAC(shadow_rules_stat_prefix=_PREFIX))

    def per_route(self, route: ir.Route) -> base.Config | None:
        if route.auth is None:
            return None
        asked = [one for one in (route.auth.introspection, route.auth.redis_keys) if one is not None]
        if not asked or not all(one.optional for one in asked):
            return None
        return _per_route(tuple(one.places for one in asked))


FILTER = Spared()


def write_unless(target: matcher.MetadataMatcher) -> None:
    """Holds for all requests but those that are spared."""
    target.filter, key = _FOUND
    target.path.add().key = key
    target.value.string_match.exact = "allowed"
    target.invert = True


@functools.lru_cache(maxsize=1024)
def _per_route(several: tuple[ir.Places, ...]) -> base.Config:
    message = rbac.RBACPerRoute()
    message.rbac.shadow_rules_stat_prefix = _PREFIX
    message.rbac.shadow_rules.action = config.RBAC.ALLOW
    policy = message.rbac.shadow_rules.policies["nothing"]
    policy.permissions.add().any = True
    names = dict.fromkeys(name for one in several for name, _ in one.headers)
    if any(one.cookies for one in several):
        names["cookie"] = None
    there = [_header(name) for name in names]
    if any(one.params for one in several):
        there.append(query := config.Principal())
        query.header.name = ":path"
        query.header.string_match.contains = "?"
    rules.any_of(policy.principals.add().not_id, there)
    return base.config(message)


def _header(name: str) -> config.Principal:
    made = config.Principal()
    made.header.name = name
    made.header.present_match = True
    return made
