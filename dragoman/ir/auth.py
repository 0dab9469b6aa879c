"""Who may pass: what a route asks of its clients. Part of `ir.model`.

Every value is complete in itself: keys of token issuers are in it, so that two routes which ask the same
share what is made of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from dragoman.ir.answers import Answer
from dragoman.ir.backends import ClusterKey
from dragoman.ir.basic import Basic
from dragoman.ir.keys import ApiKeys, Lookup
from dragoman.ir.lookups import Introspection, Places, RedisKeys
from dragoman.ir.oidc import BEARER, Login


@dataclass(frozen=True, slots=True)
class JwtProvider:
    """An issuer whose tokens are taken (RFC 7519). `jwks`: its public keys (RFC 7517), as JSON text, with
    one usable key at least. `headers`: (name, what stands before the token). `claims`: (header towards the
    backend, path of the claim); `lists`: the same, of lists that are to come with commas. `clock_skew` in
    seconds.
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
    lists: tuple[tuple[str, str], ...] = ()

    @property
    def places(self) -> Places:
        """Where its tokens may be. Where nothing is said, Envoy looks there."""
        if self.headers or self.params or self.cookies:
            return Places(self.headers, self.params, self.cookies)
        return Places((BEARER,), ("access_token",))


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
class Principal:
    """A name in the client's certificate, which was checked: `kind` is `URI` (SPIFFE) or `DNS`; the name is
    `value`, or begins with it."""

    kind: str
    value: str
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Certificate:
    """A client certificate that was checked. `optional`: requests without any pass too."""

    optional: bool = False
    consumers: Lookup | None = None


@dataclass(frozen=True, slots=True)
class External:
    """A service that is asked about each request: by gRPC (Envoy's `ext_authz` protocol), or `http`, where
    the request itself goes to it, its path after `path`. `timeout` in seconds; `fail_open`: requests pass
    where it gives no answer. `headers` are added to what it is asked, `context` goes along by gRPC. Of an
    answer by HTTP, `to_backend` are passed on with the request, `to_client` (None: all) with a refusal and
    `to_client_on_success` with the response. `body`: so many bytes of the body go along."""

    cluster: ClusterKey
    http: bool = False
    path: str = ""
    timeout: float = 0.5
    fail_open: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    context: tuple[tuple[str, str], ...] = ()
    to_backend: tuple[str, ...] = ()
    to_client: tuple[str, ...] | None = None
    to_client_on_success: tuple[str, ...] = ()
    body: int = 0


@dataclass(frozen=True, slots=True)
class Csrf:
    """Requests that change something come from pages of the same host, or of one of `hosts` (host, and port
    unless it is the scheme's; one `*` label) or `patterns` (regular expressions for the same)."""

    hosts: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuthRule:
    """What a request must meet, all of it. `paths`: (kind of match, value) with the kinds `exact`, `prefix`
    (whole segments) and `regex`; `headers`: (lower-case name, value, whether it is a regular expression).
    `user_agents` are regular expressions. Of `methods`, `paths`, `addresses` (CIDR), `consumers`, `groups`,
    `principals` and `user_agents` one is enough."""

    name: str = ""
    claims: tuple[Claim, ...] = ()
    methods: tuple[str, ...] = ()
    paths: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str, bool], ...] = ()
    addresses: tuple[str, ...] = ()
    consumers: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    principals: tuple[Principal, ...] = ()
    user_agents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuthRules:
    """A request passes that meets one of `allow` (None: everybody) and none of `deny`. `shadow`: all pass,
    and those that would not are counted."""

    allow: tuple[AuthRule, ...] | None = None
    deny: tuple[AuthRule, ...] = ()
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Needs:
    """Credentials of `kinds` (`token`, `key`, `certificate`, `user`, and of those that are looked up
    `introspected`, `redis`): all of them, or `any_of` them; none in requests that meet one of `exempt`, of
    which only paths and methods count."""

    kinds: tuple[str, ...]
    any_of: bool = False
    exempt: tuple[AuthRule, ...] = ()


@dataclass(frozen=True, slots=True)
class Auth:
    """All that is asked of a request before it may pass. `scopes`: those that the rules ask for, for the
    answer. `token_of`: by which claim of its token a Consumer is known. `needs`: what is
    needed of credentials that are optional each for itself."""

    jwt: Jwt | None = None
    rules: AuthRules | None = None
    scopes: tuple[str, ...] = ()
    keys: ApiKeys | None = None
    external: External | None = None
    login: Login | None = None
    certificate: Certificate | None = None
    token_of: Lookup | None = None
    basic: Basic | None = None
    answers: tuple[Answer, ...] = ()
    needs: Needs | None = None
    introspection: Introspection | None = None
    redis_keys: RedisKeys | None = None
