"""Who may pass: what a route asks of its clients. Part of `ir.model`.

Every value is complete in itself: keys of token issuers are in it, so that two routes which ask the same
share what is made of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from dragoman.ir.keys import ApiKeys


@dataclass(frozen=True, slots=True)
class JwtProvider:
    """An issuer whose tokens are taken (RFC 7519). `jwks`: its public keys (RFC 7517), as JSON text, with
    one usable key at least. `headers`: (name, what stands before the token). `claims`: (header towards the
    backend, path of the claim). `clock_skew` in seconds.
    """

    issuer: str
    audiences: tuple[str, ...]
    jwks: str
    headers: tuple[tuple[str, str], ...] = ()
    params: tuple[str, ...] = ()
    cookies: tuple[str, ...] = ()
    clock_skew: int = 30
    require_expiration: bool = True
    forward: bool = True
    payload_header: str = ""
    claims: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Jwt:
    """A token of one of `providers`. `optional`: a request without any passes too, one with a wrong token
    does not."""

    providers: tuple[JwtProvider, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim of the token, by its path: one of `values`, or a list that holds one of them."""

    path: tuple[str, ...]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AuthRule:
    """What a request must meet, all of it. `paths`: (kind of match, value) with the kinds `exact`, `prefix`
    (whole segments) and `regex`; `headers`: (lower-case name, value, whether it is a regular expression).
    Of `methods`, `paths`, `addresses` (CIDR), `consumers` and `groups` one is enough."""

    name: str = ""
    claims: tuple[Claim, ...] = ()
    methods: tuple[str, ...] = ()
    paths: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str, bool], ...] = ()
    addresses: tuple[str, ...] = ()
    consumers: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuthRules:
    """A request passes that meets one of `allow` (None: everybody) and none of `deny`. `shadow`: all pass,
    and those that would not are counted."""

    allow: tuple[AuthRule, ...] | None = None
    deny: tuple[AuthRule, ...] = ()
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Auth:
    """All that is asked of a request before it may pass. `scopes`: those that the rules ask for, for the
    answer."""

    jwt: Jwt | None = None
    rules: AuthRules | None = None
    scopes: tuple[str, ...] = ()
    keys: ApiKeys | None = None
