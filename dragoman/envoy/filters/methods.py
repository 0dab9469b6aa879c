"""Whether a request has proven what it must, beyond what the filters for tokens and keys see to.

A client certificate was checked, where one is needed or says who the client is. And where any one of several
credentials is enough, or some requests need none, those filters let requests pass that have none of theirs
(bad ones they refuse as ever): this one refuses those that have not what they need. It is an `rbac` that says
who may not pass: its policies' names stand in the response code details, by which `replies` knows what to
answer.
"""

from __future__ import annotations

import functools
from typing import Final

from dragoman.envoy import authz
from dragoman.envoy.filters import (
    authz as lookups,
    base,
    basic_auth,
    ext_authz,
    jwt_authn,
    rbac as rules,
    tokens,
)
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.rbac import v3 as config
from dragoman.proto.envoy.extensions.filters.http.rbac import v3 as rbac
from dragoman.proto.envoy.extensions.rbac.principals.mtls_authenticated import v3 as mtls

NONE: Final = "no-credentials"
UNCHECKED: Final = "no-certificate"

_PLAIN: Final = r"(/(\.{0,2}[^./;%\\][^/;%\\]*|\.{3,}[^/;%\\]*)?)*"
"""Segments, also empty ones, of which none is `.` or `..`: a ClientPolicy may leave these where they are."""


class Methods:
    """`envoy.filters.http.rbac`, under a name of its own."""

    name = "dragoman.methods"
    disabled = True

    def config(self) -> base.Config:
        return base.config(rbac.RBAC())

    def per_route(self, route: ir.Route) -> base.Config | None:
        auth = route.auth
        if auth is None or (auth.needs is None and auth.certificate is None):
            return None
        return _per_route(auth.needs, auth.certificate, lookups.opens(auth))


FILTER = Methods()


@functools.lru_cache(maxsize=1024)
def _per_route(needs: ir.Needs | None, certificate: ir.Certificate | None, opens: bool) -> base.Config:
    message = rbac.RBACPerRoute()
    message.rbac.rules.action = config.RBAC.DENY
    if needs is not None:
        proven = [_proven(kind, opens) for kind in needs.kinds]
        enough = config.Principal()
        rules.any_of(enough, proven if needs.any_of else [rules.all_of(proven)])
        target = _denied(message, NONE)
        rules.any_of(target.not_id, [enough, *(_exempt(one) for one in needs.exempt)])
    if certificate is not None:
        unchecked = config.Principal()
        unchecked.not_id.CopyFrom(_checked())
        needed = [rules.client("via", "certificate")] if certificate.optional else []
        _denied(message, UNCHECKED).and_ids.ids.extend([unchecked, *needed])
    return base.config(message)


def _exempt(given: ir.AuthRule) -> config.Principal:
    """Where paths count, none out of which a backend may read another than we do: `/public/..;/admin`."""
    parts = [rules.rule(given)]
    if given.paths:
        parts.append(plain := config.Principal())
        plain.url_path.path.safe_regex.regex = _PLAIN
    return rules.all_of(parts)


def _denied(message: rbac.RBACPerRoute, name: str) -> config.Principal:
    policy = message.rbac.rules.policies[name]
    policy.permissions.add().any = True
    return policy.principals.add()


def _proven(kind: str, opens: bool) -> config.Principal:
    """A credential of that kind; or nobody could be asked about it, and requests pass then: the companion
    tells so of whom it asks, Envoy (`opens`) of the companion."""
    proof = _PROVEN[kind]()
    if kind not in _ASKED:
        return proof
    several = [proof, _there(ext_authz.FILTER.name, authz.OPEN, _ASKED[kind])]
    if opens:
        several.append(away := config.Principal())
        away.header.name = lookups.AWAY
        away.header.present_match = True
    made = config.Principal()
    rules.any_of(made, several)
    return made


def _token() -> config.Principal:
    """A token was checked: every one says who issued it. Where others are looked up, their claims may stand
    there: no route has both and needs (`auth_methods`)."""
    return _there(jwt_authn.FILTER.name, jwt_authn.PAYLOAD, "iss")


def _introspected() -> config.Principal:
    return _there(*tokens.LOOKED_UP)


def _user() -> config.Principal:
    return _there(*basic_auth.found(ir.Basic((), "", "", optional=True)))


def _there(namespace: str, *path: str) -> config.Principal:
    """Something stands in metadata."""
    made = config.Principal()
    matcher = made.sourced_metadata.metadata_matcher
    matcher.filter = namespace
    for step in path:
        matcher.path.add().key = step
    matcher.value.present_match = True
    return made


def _checked() -> config.Principal:
    """The client has a certificate that was checked."""
    return rules.authenticated(mtls.Config(any_validated_client_certificate=True))


def _key() -> config.Principal:
    return rules.client("via", "key")


_PROVEN: Final = {
    "token": _token,
    "key": _key,
    "certificate": _checked,
    "user": _user,
    "introspected": _introspected,
    "redis": _key,
}
_ASKED: Final = {"introspected": authz.INTROSPECTION, "redis": authz.KEYS}
