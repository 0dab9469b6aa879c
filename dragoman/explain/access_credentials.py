"""The credentials that a request needs, and whether it brings any: a session, a token, a key, a password.

None is checked: one that is there leaves the verdict open. Called by `access`.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from dragoman.explain import finding as findings
from dragoman.ir import model as ir

_SCRIPTS: Final = ("cors", "no-cors", "same-origin", "websocket")


def login(finding: findings.Finding, auth: ir.Auth, seen: findings.Seen) -> bool:
    """Whether the request brings a token of its own instead of a session."""
    wanted = auth.login
    if wanted is None:
        return False
    instead = ", or a token of its own in `Authorization: Bearer`" if wanted.bearers else ""
    finding.needs.append(f"a session, after a login at {urlsplit(wanted.authorization).netloc}{instead}")
    brings = (seen.header("authorization") or "").lower().startswith("bearer ")
    if seen.claims or (wanted.bearers and brings):
        return True
    if seen.path == wanted.callback:
        finding.open.append("the provider's answer")
    elif seen.path == wanted.logout:
        finding.refuse(findings.FOUND, "logout", "it ends the session")
    elif seen.session(f"__Host-login-{wanted.name}-"):
        finding.open.append("the session")
    elif _script(seen):
        finding.refuse(
            findings.UNAUTHORIZED, "unauthorized", "there is no session, and it is no page that is opened"
        )
    else:
        finding.refuse(
            findings.FOUND, "login", f"there is no session, so it is sent to {wanted.authorization}"
        )
    return False


def _script(seen: findings.Seen) -> bool:
    accept = seen.header("accept")
    return (
        seen.header("x-requested-with") is not None
        or seen.header("sec-fetch-mode") in _SCRIPTS
        or (accept is not None and "text/html" not in accept)
    )


def jwt(finding: findings.Finding, wanted: ir.Jwt, seen: findings.Seen, *, session: bool) -> bool:
    """A token of one of the issuers. With a session, that one's token. Whether it brings any."""
    optional = ", if it brings any" if wanted.optional else ""
    for one in wanted.providers:
        places = _places(one)
        whom = f" for {' or '.join(one.audiences)}" if one.audiences else ""
        finding.needs.append(f"a token of {one.issuer}{whom}, in {' or '.join(places)}{optional}")
    if seen.claims:
        return True
    brings = any(_brings(one, seen) for one in wanted.providers)
    if session:
        finding.open.append("the session's token")
    elif brings:
        finding.open.append("the token")
    elif not wanted.optional:
        finding.refuse(findings.UNAUTHORIZED, "unauthorized", "there is no token")
    return brings or session


def _places(one: ir.JwtProvider) -> list[str]:
    places = one.places
    shown = [f"{name}: {prefix}".rstrip(": ") for name, prefix in places.headers if name != ir.ID_TOKEN[0]]
    return [
        *(f"header `{each}`" for each in shown),
        *(f"parameter `{name}`" for name in places.params),
        *(f"cookie `{name}`" for name in places.cookies),
    ]


def _brings(one: ir.JwtProvider, seen: findings.Seen) -> bool:
    places = one.places
    return (
        any(
            (seen.header(name.lower()) or "").startswith(prefix or "")
            for name, prefix in places.headers
            if seen.header(name.lower())
        )
        or any(seen.prepared.parameter(name) is not None for name in places.params)
        or any(map(seen.cookie, places.cookies))
    )


def keys(finding: findings.Finding, wanted: ir.ApiKeys, seen: findings.Seen) -> bool:
    """An API key. Whether it brings any."""
    places = [
        *(f"header `{name}`" for name in wanted.headers),
        *(f"parameter `{name}`" for name in wanted.params),
        *(f"cookie `{name}`" for name in wanted.cookies),
    ]
    whose = [f"Secret {one.namespace}/{one.secret}" for one in wanted.sets if one.secret]
    some = [*wanted.consumers, *(f"those in {group}" for group in wanted.groups)]
    among = f" ({', '.join(some)})" if some else ""
    whose += [f"Consumers of {one.namespace}{among}" for one in wanted.sets if not one.secret]
    optional = ", if it brings any" if wanted.optional else ""
    finding.needs.append(f"an API key of {' or '.join(whose)}, in {' or '.join(places)}{optional}")
    brings = (
        any(seen.header(name) for name in wanted.headers)
        or any(seen.prepared.parameter(name) for name in wanted.params)
        or any(map(seen.cookie, wanted.cookies))
    )
    if brings:
        finding.open.append("the API key")
    elif not wanted.optional:
        finding.refuse(findings.UNAUTHORIZED, "unauthorized", "there is no API key")
    return brings


def basic(finding: findings.Finding, wanted: ir.Basic, seen: findings.Seen) -> bool:
    """A name and a password. Whether it brings any."""
    optional = ", if it brings any" if wanted.optional else ""
    whose = f"one of {len(wanted.users)} users, in `Authorization: Basic`{optional}"
    finding.needs.append(f"name and password of {whose}")
    brings = (seen.header("authorization") or "").startswith("Basic ")
    if brings:
        finding.open.append("the password")
    elif not wanted.optional:
        finding.refuse(findings.UNAUTHORIZED, "unauthorized", "there is no user name and password")
    return brings
