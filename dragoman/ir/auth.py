"""Who may pass: what a route asks of its clients. Part of `ir.model`.

Every value is complete in itself: keys of token issuers are in it, so that two routes which ask the same
share what is made of it.
"""

from __future__ import annotations

from dataclasses import dataclass


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
class Auth:
    """All that is asked of a request before it may pass."""

    jwt: Jwt | None = None
