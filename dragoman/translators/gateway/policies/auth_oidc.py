"""An AuthPolicy's `oidc` -> logins of browsers, and the secrets that these need.

    AuthPolicy + what its issuer says (fetched) + Secret -> Login, or why there is none
    AuthPolicy + Secret -> the client's secret, and the one that seals cookies (for SDS)

The secret that seals cookies is derived from the client's, unless the policy names one. So every replica has
the same, before and after a restart, nobody has to keep it, and a new client secret ends all sessions. The
policy's name goes in: cookies of one policy open nothing under another. Called by `auth_sources` and `auth`.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

from dragoman.diagnostics import Diagnostic, Severity, warning
from dragoman.graph.collection import Collection, Context, Graph
from dragoman.ir import model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import backends
from dragoman.translators.gateway.models import auth_oidc, authpolicy, meta, policy, secret

DISCOVERY: Final = "/.well-known/openid-configuration"
CLIENT, SEAL = "oidc-client", "oidc-cookies"
"""What the two secrets of a policy are used for (`SecretKey.use`)."""

_URL: Final = re.compile(
    r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:[/?][!$-;=?-~]*)?"
)
"""What Envoy takes for a URL: of the visible characters without quotes, `#`, `<` and `>`."""
_PORTS: Final = {"https": 443, "http": 80}
_SHORTEST: Final = 32
_LONGEST: Final = 253
_ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint")

Secrets = Collection[Ref, base.AnyObject]
Found = Collection[str, base.Fetched]


@dataclass(frozen=True, slots=True)
class _Lack:
    """Why there is nothing. `early`: nobody has asked the issuer yet, which is no fault."""

    why: str
    at: tuple[str, ...] = ()
    early: bool = False


def said(item: base.AnyObject) -> auth_oidc.Oidc | None:
    """The section of a policy that is not wrong and has it on."""
    return policy.on(item.spec.oidc) if isinstance(item.spec, authpolicy.AuthPolicy) else None


def url(item: base.AnyObject) -> str | None:
    """What has to be fetched for a policy: its issuer's description, unless every endpoint is said."""
    given = said(item)
    if given is None or given.issuer is None or all(getattr(given, one) for one in _ENDPOINTS):
        return None
    return f"{given.issuer.rstrip('/')}{DISCOVERY}"


def login(
    ctx: Context, secrets: Secrets, found: Found, ref: Ref, item: base.AnyObject
) -> tuple[ir.Login | None, tuple[Diagnostic, ...]]:
    """The login of a policy that asks for one; or none, and why."""
    given = said(item)
    if given is None:
        return None, ()
    for key in (CLIENT, SEAL):
        value = _secret(ctx, secrets, ref, given, key)
        if isinstance(value, _Lack):
            return None, (_flaw(value, ref),)
    where = url(item)
    described = _described(ctx.fetch(found, where), given.issuer or "", where) if where is not None else {}
    if isinstance(described, _Lack):
        return None, (_flaw(described, ref),)
    made = _login(ref, given, described)
    return (None, (_flaw(made, ref),)) if isinstance(made, _Lack) else (made, tuple(_exposed(made, given)))


def secrets(graph: Graph, objects: base.Objects) -> Collection[ir.SecretKey, ir.Secret]:
    """The secrets of all policies that have usable ones."""
    held = objects[meta.CORE_GROUP, "Secret"]

    def made(ctx: Context, ref: Ref, item: base.AnyObject) -> Iterator[tuple[ir.SecretKey, ir.Secret]]:
        given = said(item)
        for use in (CLIENT, SEAL) if given is not None else ():
            assert given is not None
            value = _secret(ctx, held, ref, given, use)
            if isinstance(value, bytes):
                key = ir.SecretKey(ref, use)
                yield key, ir.Secret(key, generic=value, origin=Origin(ref, ("spec", "oidc")))

    return graph.map_many("secrets of logins", objects[meta.DRAGOMAN_GROUP, "AuthPolicy"], made)


def on_route(found: ir.Login, jwt: ir.Jwt | None) -> tuple[ir.Login, ir.Jwt | None]:
    """The login as a route has it, and what it asks of tokens. A browser's token goes to those who check it,
    and to the backend only where the login says so."""
    if jwt is None:
        return found, None
    jwt = replace(jwt, providers=tuple(_of_session(one, found) for one in jwt.providers))
    # Where a token may be missing, bringing any would be a way around the login.
    own = not jwt.optional and not (found.id_token and found.forward)
    return replace(found, checked=True, bearers=own), jwt


def reached(
    ctx: Context, sources: backends.Sources, ref: Ref, given: auth_oidc.Oidc
) -> ir.ClusterKey | backends.Unresolved | None:
    """The cluster that `backendRef` of the policy `ref` means; None where it says none."""
    if given.backend_ref is None:
        return None
    origin = Origin(ref, ("spec", "oidc", "backendRef"))
    return backends.resolve(ctx, sources, ref, given.backend_ref, origin)


def unresolved(
    ctx: Context, sources: backends.Sources, ref: Ref, item: base.AnyObject
) -> backends.Unresolved | None:
    """What is wrong with the `backendRef` of one policy."""
    given = said(item)
    lost = reached(ctx, sources, ref, given) if given is not None else None
    if not isinstance(lost, backends.Unresolved):
        return None
    lack = _Lack(f"the provider cannot be reached: {lost.finding.message}", ("backendRef",))
    return replace(lost, finding=_flaw(lack, ref))


def _of_session(given: ir.JwtProvider, login: ir.Login) -> ir.JwtProvider:
    """An issuer whose tokens may come from a session, too."""
    if not (given.headers or given.params or given.cookies):  # as Envoy has it
        given = replace(given, headers=(ir.BEARER,), params=("access_token",))
    if all(name.lower() != login.token_header[0] for name, _ in given.headers):
        given = replace(given, headers=(*given.headers, login.token_header))
    return given if login.forward else replace(given, forward=False)


def astray(routes: Sequence[ir.Route]) -> Iterator[Diagnostic]:
    """Logins whose way back leads to no rule that knows of them."""
    logins: dict[ir.Login, ir.Route] = {}
    for route in routes:
        if route.auth is not None and route.auth.login is not None:
            logins.setdefault(route.auth.login, route)
    for one, first in logins.items():
        covers = [route.match.path for route in routes if route.auth is not None and route.auth.login == one]
        for path in (one.callback, one.logout):
            if first.origin is not None and not any(_covers(each, path) for each in covers):
                message = f"no rule under the login matches {path}"
                label = "browsers cannot log in" if path == one.callback else "nobody can log out"
                hint = "choose `redirectPath` and `logoutPath` under a path of the rule"
                yield warning("DRG1842", message, first.origin, label=label, help=hint)


def _covers(match: ir.PathMatch, path: str) -> bool:
    match match:
        case ir.SegmentPrefix(value):
            return path == value.rstrip("/") or path.startswith(f"{value.rstrip('/')}/")
        case ir.ExactPath(value):
            return path == value
        case _:
            return True  # a regular expression: the benefit of the doubt


def _login(ref: Ref, given: auth_oidc.Oidc, described: Mapping[str, Any]) -> ir.Login | _Lack:
    ends: dict[str, str] = {}
    for name in (*_ENDPOINTS, "end_session_endpoint"):
        value = getattr(given, name) or described.get(name) or ""
        if name in _ENDPOINTS and not value:
            return _Lack(f"the issuer names no {name}", ("issuer",))
        if value and not (isinstance(value, str) and _URL.fullmatch(value)):
            return _Lack(f"the {name} is no URL", ("issuer",))
        ends[name] = value
    host = _host(ends["token_endpoint"])
    if host is None:
        return _Lack("the token_endpoint has no host, or no port", ("issuer",))
    by_header = _by_header(given, described)
    return ir.Login(
        hashlib.sha256(ref.id.encode()).hexdigest()[:8],
        host,
        ends["authorization_endpoint"],
        ends["token_endpoint"],
        given.client_id or "",
        ir.SecretKey(ref, CLIENT),
        ir.SecretKey(ref, SEAL),
        tuple(dict.fromkeys(("openid", *given.scopes))),
        given.redirect_path,
        given.logout_path,
        ends["end_session_endpoint"],
        given.resources,
        by_header,
        given.refresh_tokens,
        given.token == "IdToken",
        forward=given.forward_token,
        timeout=given.timeout,
    )


def _host(url: str) -> ir.ClusterKey | None:
    """Where a URL leads."""
    try:
        where = urlsplit(url)
        port = _PORTS[where.scheme] if where.port is None else where.port
        name = str(ipaddress.ip_address(where.hostname or "")) if "[" in where.netloc else where.hostname
    except ValueError:
        return None
    if not name or len(name) > _LONGEST or not port:
        return None
    return ir.ClusterKey(Ref("", ir.HOST, where.scheme, name), port)


def _by_header(given: auth_oidc.Oidc, described: Mapping[str, Any]) -> bool:
    """A description without the list means basic authentication (OpenID Connect Discovery, section 3)."""
    if given.client_authentication is not None or not described:
        return given.client_authentication == "Header"
    methods = described.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    return not (isinstance(methods, list) and "client_secret_post" in methods)


def _described(fetched: base.Fetched | None, issuer: str, where: str) -> dict[str, Any] | _Lack:
    at = ("issuer",)
    if fetched is None:
        return _Lack(f"{where} was not asked yet", at, early=True)
    if not fetched.body:
        return _Lack(f"{where}: {fetched.error}", at)
    try:
        described = json.loads(fetched.body)
    except ValueError:
        return _Lack(f"{where} is not JSON", at)
    if not isinstance(described, dict) or described.get("issuer") != issuer:
        return _Lack(f"{where} speaks of another issuer", at)
    return described


def _secret(ctx: Context, held: Secrets, ref: Ref, given: auth_oidc.Oidc, use: str) -> bytes | _Lack:
    if use == SEAL and given.cookie_secret_ref is not None:
        found = _entry(ctx, held, ref, given.cookie_secret_ref, "cookieSecretRef")
        if isinstance(found, bytes) and len(found) < _SHORTEST:
            return _Lack(f"the secret of cookies is shorter than {_SHORTEST} bytes", ("cookieSecretRef",))
        return found
    if given.client_secret_ref is None:
        return _Lack("`clientSecretRef` is missing")
    found = _entry(ctx, held, ref, given.client_secret_ref, "clientSecretRef")
    if use == CLIENT or isinstance(found, _Lack):
        return found
    return hmac.new(found, f"dragoman oidc cookies {ref.id}".encode(), hashlib.sha256).digest()


def _exposed(made: ir.Login, given: auth_oidc.Oidc) -> Iterator[Diagnostic]:
    """Plain HTTP to another machine: whoever is on the way reads the client's secret and all tokens."""
    host = made.cluster.ref
    if host.namespace == "http" and given.backend_ref is None and not _loopback(host.name):
        message = f"the secret of the client and all tokens go to {host.name} over plain HTTP"
        at = "issuer" if given.token_endpoint is None else "tokenEndpoint"
        origin = Origin(made.secret.ref, ("spec", "oidc", at))
        yield warning(
            "DRG1843", message, origin, label="whoever is on the way can read them", help="use https"
        )


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _entry(
    ctx: Context, held: Secrets, ref: Ref, wanted: auth_oidc.ClientSecret | auth_oidc.CookieSecret, at: str
) -> bytes | _Lack:
    target = Ref(meta.CORE_GROUP, "Secret", ref.namespace, wanted.name)
    item = ctx.fetch(held, target)
    if item is None:
        return _Lack(f"{target} is not there", (at, "name"))
    spec: secret.Secret = item.spec
    value = (spec.value(wanted.key) or b"").rstrip(b"\r\n")
    return value or _Lack(f"{target} has no entry `{wanted.key}`", (at, "key"))


def _flaw(lack: _Lack, ref: Ref) -> Diagnostic:
    severity = Severity.INFO if lack.early else Severity.ERROR
    path = ("spec", "oidc", *lack.at)
    label = "requests under the policy are answered 500"
    return Diagnostic("DRG1841", f"nobody can log in: {lack.why}", ref, path, severity, label)
