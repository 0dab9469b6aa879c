"""An AuthPolicy's `oidc` -> logins of browsers.

    AuthPolicy + what its issuer says (fetched) + Secret -> Login, or why there is none

The secrets themselves are in `auth_oidc_secrets`, what a login means for a route in `auth_oidc_routes`.
Called by `auth_sources` and the wiring.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from dragoman.diagnostics import Diagnostic, warning
from dragoman.graph.collection import Collection, Context
from dragoman.ir import model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import backends
from dragoman.translators.gateway.models import auth_oidc
from dragoman.translators.gateway.policies import auth_oidc_secrets, issuers

_URL: Final = re.compile(
    r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:[/?][!$-;=?-~]*)?"
)
"""What Envoy takes for a URL: of the visible characters without quotes, `#`, `<` and `>`."""
_PORTS: Final = {"https": 443, "http": 80}
_LONGEST: Final = 253
_ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint")

Found = Collection[str, base.Fetched]


def url(item: base.AnyObject) -> str | None:
    """What has to be fetched for a policy: its issuer's description, unless every endpoint is said."""
    given = auth_oidc_secrets.said(item)
    if given is None or given.issuer is None or all(getattr(given, one) for one in _ENDPOINTS):
        return None
    return issuers.description(given.issuer)


def login(
    ctx: Context, secrets: auth_oidc_secrets.Secrets, found: Found, ref: Ref, item: base.AnyObject
) -> tuple[ir.Login | None, tuple[Diagnostic, ...]]:
    """The login of a policy that asks for one; or none, and why."""
    given = auth_oidc_secrets.said(item)
    if given is None:
        return None, ()
    for use in (auth_oidc_secrets.CLIENT, auth_oidc_secrets.SEAL):
        value = auth_oidc_secrets.read(ctx, secrets, ref, given, use)
        if isinstance(value, issuers.Lack):
            return None, (_flaw(value, ref),)
    where = url(item)
    told = ctx.fetch(found, where) if where is not None else None
    described = issuers.described(told, given.issuer or "") if where is not None else {}
    if isinstance(described, issuers.Lack):
        return None, (_flaw(described, ref),)
    made = _login(ref, given, described)
    if isinstance(made, issuers.Lack):
        return None, (_flaw(made, ref),)
    return made, tuple(_exposed(made, given))


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
    given = auth_oidc_secrets.said(item)
    lost = reached(ctx, sources, ref, given) if given is not None else None
    if not isinstance(lost, backends.Unresolved):
        return None
    lack = issuers.Lack(f"the provider cannot be reached: {lost.finding.message}", ("backendRef",))
    return replace(lost, finding=_flaw(lack, ref))


def _login(ref: Ref, given: auth_oidc.Oidc, described: Mapping[str, Any]) -> ir.Login | issuers.Lack:
    ends: dict[str, str] = {}
    for name in (*_ENDPOINTS, "end_session_endpoint"):
        value = getattr(given, name) or described.get(name) or ""
        if name in _ENDPOINTS and not value:
            return issuers.Lack(f"the issuer names no {name}", ("issuer",))
        if value and not (isinstance(value, str) and _URL.fullmatch(value)):
            return issuers.Lack(f"the {name} is no URL", ("issuer",))
        ends[name] = value
    host = _host(ends["token_endpoint"])
    if host is None:
        return issuers.Lack("the token_endpoint has no host, or no port", ("issuer",))
    by_header = _by_header(given, described)
    return ir.Login(
        hashlib.sha256(ref.id.encode()).hexdigest()[:8],
        host,
        ends["authorization_endpoint"],
        ends["token_endpoint"],
        given.client_id or "",
        ir.SecretKey(ref, auth_oidc_secrets.CLIENT),
        ir.SecretKey(ref, auth_oidc_secrets.SEAL),
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


def _flaw(lack: issuers.Lack, ref: Ref) -> Diagnostic:
    origin = Origin(ref, ("spec", "oidc", *lack.at))
    return issuers.flaw("DRG1841", "nobody can log in", lack, origin)
