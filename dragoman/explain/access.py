"""What a request needs to pass a route, and whether this one does, as far as that can be told here.

Credentials are not checked: nobody here knows secrets, and one that is there counts as "to be checked". What
is plain to see is decided: a credential that is missing, rules on methods, paths, headers and addresses,
pages of other hosts. The order is that of the filters. Called by `request`, and by `admin.anatomy` for a
route without any request; `text` prints it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import re2

from dragoman.explain import access_lookups
from dragoman.ir import model as ir
from dragoman.ir.match import Compile
from dragoman.ir.request import Prepared, Request

Data = dict[str, Any]

PASSES, REFUSED, DEPENDS = "passes", "refused", "depends"
"""What is known of the request: it passes, it does not, or that hangs on what is not known here."""

_SAFE: Final = ("GET", "HEAD", "OPTIONS", "TRACE", "CONNECT")
_SCRIPTS: Final = ("cors", "no-cors", "same-origin", "websocket")
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_FOUND: Final = 302


_Met = bool | None
"""Whether something holds; None: that is not known here."""


@dataclass(slots=True)
class _Finding:
    """What was found so far. `refusal`: (status, error, why) of the first that refuses."""

    needs: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    refusal: tuple[int, str, str] | None = None

    def refuse(self, status: int, error: str, why: str) -> None:
        if self.refusal is None:
            self.refusal = (status, error, why)


def found(route: ir.Route, request: Request, prepared: Prepared, compile: Compile) -> Data | None:
    """`needs` in words; `rules` in words, each with whether it holds; `verdict`, with `status`, `error` and
    `why` where it refuses, or `depends` on what. None: nothing is asked."""
    auth = route.auth or ir.Auth()
    finding = _Finding()
    seen = _Seen(request, prepared, compile)
    if route.csrf is not None:
        _csrf(finding, route.csrf, seen)
    bearer = _login(finding, auth, seen)
    brought: dict[str, _Met] = {}
    if auth.jwt is not None:
        session = auth.login is not None and not bearer
        brought["token"] = _jwt(finding, auth.jwt, seen, session=session)
    if auth.keys is not None:
        brought["key"] = _keys(finding, auth.keys, seen)
    if auth.basic is not None:
        brought["user"] = _basic(finding, auth.basic, seen)
    if auth.certificate is not None:
        brought["certificate"] = None
        shown = ", if it shows any" if auth.certificate.optional else ""
        finding.needs.append(f"a client's certificate that was checked, of a Consumer{shown}")
        finding.open.append("the certificate")
    if auth.needs is not None:
        _together(finding, auth.needs, brought, seen)
    if auth.external is not None:
        where = f"{auth.external.cluster.ref}"
        finding.needs.append(f"the consent of {where}, which is asked about each request")
        finding.open.append(f"what {where} says")
    for need, depends in access_lookups.needs(auth):
        finding.needs.append(need)
        finding.open.append(depends)
    rules = list(_rules(finding, auth, seen)) if auth.rules is not None else []
    if not finding.needs and not rules:
        return None
    data: Data = {"needs": finding.needs, "verdict": DEPENDS if finding.open else PASSES}
    if rules:
        data["rules"] = rules
        data["shadow"] = auth.rules is not None and auth.rules.shadow
    if finding.refusal is not None:
        status, error, why = finding.refusal
        status = next((one.status for one in auth.answers if one.error == error and one.status), status)
        data |= {"verdict": REFUSED, "status": status, "error": error, "why": why}
    elif finding.open:
        data["depends"] = finding.open
    return data


def needed(route: ir.Route) -> list[str]:
    """What a request needs to pass, in words."""
    data = found(route, _ANY, _PREPARED, re2.compile)
    if data is None:
        return []
    dry = " (dry run)" if data.get("shadow") else ""
    listed = data.get("rules", ())
    rules = [f"{'not ' if one['kind'] == 'deny' else ''}{one['words']}{dry}" for one in listed]
    denied = [one for one, rule in zip(rules, listed, strict=True) if rule["kind"] == "deny"]
    allowed = [one for one, rule in zip(rules, listed, strict=True) if rule["kind"] == "allow"]
    return [*data["needs"], *denied, *([" or ".join(allowed)] if allowed else [])]


_ANY: Final = Request("", "/")
_PREPARED: Final = Prepared("", "", "/", None, {})


class _Seen:
    """A request, asked for its parts."""

    def __init__(self, request: Request, prepared: Prepared, compile: Compile) -> None:
        self.method = request.method
        self.path = prepared.path
        self.prepared = prepared
        self.compile = compile
        told = any(name.lower() == "x-forwarded-for" for name, _ in request.headers)
        self.client = None if told else request.client
        """None: proxies may report another, whom the listener may trust."""

    def header(self, name: str) -> str | None:
        if name == ":authority":
            return self.prepared.authority
        values = self.prepared.headers.get(name, ())
        return ",".join(values) if values else None

    def cookie(self, name: str) -> bool:
        return any(pair.strip().partition("=")[0] == name for pair in self._cookies())

    def session(self, start: str) -> bool:
        return any(pair.strip().startswith(start) for pair in self._cookies())

    def _cookies(self) -> Iterator[str]:
        for value in self.prepared.headers.get("cookie", ()):
            yield from value.split(";")


def _csrf(finding: _Finding, wanted: ir.Csrf, seen: _Seen) -> None:
    friends = (*wanted.hosts, *wanted.patterns)
    others = f", or of {', '.join(friends)}" if friends else ""
    finding.needs.append(f"to change something: a page of the same host{others}")
    if seen.method in _SAFE:
        return
    said = seen.header("origin")
    page = said if said is not None else seen.header("referer")
    host = urlsplit(page).netloc if page is not None else None
    if not host:
        finding.refuse(_FORBIDDEN, "forbidden", "it does not say which page it comes from")
    elif host != seen.prepared.authority and not _friend(host, wanted, seen.compile):
        finding.refuse(_FORBIDDEN, "forbidden", f"it comes from a page of {host}")


def _friend(host: str, wanted: ir.Csrf, compile: Compile) -> bool:
    def like(pattern: str) -> bool:
        before, star, after = pattern.partition("*")
        if not star:
            return host == pattern
        return len(host) > len(before) + len(after) and host.startswith(before) and host.endswith(after)

    return any(map(like, wanted.hosts)) or any(compile(one).fullmatch(host) for one in wanted.patterns)


def _login(finding: _Finding, auth: ir.Auth, seen: _Seen) -> bool:
    """Whether the request brings a token of its own instead of a session."""
    login = auth.login
    if login is None:
        return False
    instead = ", or a token of its own in `Authorization: Bearer`" if login.bearers else ""
    finding.needs.append(f"a session, after a login at {urlsplit(login.authorization).netloc}{instead}")
    brings = (seen.header("authorization") or "").lower().startswith("bearer ")
    if login.bearers and brings:
        return True
    if seen.path == login.callback:
        finding.open.append("the provider's answer")
    elif seen.path == login.logout:
        finding.refuse(_FOUND, "logout", "it ends the session")
    elif seen.session(f"__Host-login-{login.name}-"):
        finding.open.append("the session")
    elif _script(seen):
        finding.refuse(_UNAUTHORIZED, "unauthorized", "there is no session, and it is no page that is opened")
    else:
        finding.refuse(_FOUND, "login", f"there is no session, so it is sent to {login.authorization}")
    return False


def _script(seen: _Seen) -> bool:
    accept = seen.header("accept")
    return (
        seen.header("x-requested-with") is not None
        or seen.header("sec-fetch-mode") in _SCRIPTS
        or (accept is not None and "text/html" not in accept)
    )


def _jwt(finding: _Finding, jwt: ir.Jwt, seen: _Seen, *, session: bool) -> bool:
    """A token of one of the issuers. With a session, that one's token. Whether it brings any."""
    optional = ", if it brings any" if jwt.optional else ""
    for one in jwt.providers:
        places = _places(one)
        whom = f" for {' or '.join(one.audiences)}" if one.audiences else ""
        finding.needs.append(f"a token of {one.issuer}{whom}, in {' or '.join(places)}{optional}")
    brings = any(_brings(one, seen) for one in jwt.providers)
    if session:
        finding.open.append("the session's token")
    elif brings:
        finding.open.append("the token")
    elif not jwt.optional:
        finding.refuse(_UNAUTHORIZED, "unauthorized", "there is no token")
    return brings or session


def _sources(one: ir.JwtProvider) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    if one.headers or one.params or one.cookies:
        return one.headers, one.params
    return (("authorization", "Bearer "),), ("access_token",)


def _places(one: ir.JwtProvider) -> list[str]:
    headers, params = _sources(one)
    shown = [f"{name}: {prefix}".rstrip(": ") for name, prefix in headers if name != ir.ID_TOKEN[0]]
    return [
        *(f"header `{each}`" for each in shown),
        *(f"parameter `{name}`" for name in params),
        *(f"cookie `{name}`" for name in one.cookies),
    ]


def _brings(one: ir.JwtProvider, seen: _Seen) -> bool:
    headers, params = _sources(one)
    return (
        any(
            (seen.header(name.lower()) or "").startswith(prefix or "")
            for name, prefix in headers
            if seen.header(name.lower())
        )
        or any(seen.prepared.parameter(name) is not None for name in params)
        or any(map(seen.cookie, one.cookies))
    )


def _keys(finding: _Finding, keys: ir.ApiKeys, seen: _Seen) -> bool:
    places = [
        *(f"header `{name}`" for name in keys.headers),
        *(f"parameter `{name}`" for name in keys.params),
        *(f"cookie `{name}`" for name in keys.cookies),
    ]
    whose = [f"Secret {one.namespace}/{one.secret}" for one in keys.sets if one.secret]
    some = [*keys.consumers, *(f"those in {group}" for group in keys.groups)]
    among = f" ({', '.join(some)})" if some else ""
    whose += [f"Consumers of {one.namespace}{among}" for one in keys.sets if not one.secret]
    optional = ", if it brings any" if keys.optional else ""
    finding.needs.append(f"an API key of {' or '.join(whose)}, in {' or '.join(places)}{optional}")
    brings = (
        any(seen.header(name) for name in keys.headers)
        or any(seen.prepared.parameter(name) for name in keys.params)
        or any(map(seen.cookie, keys.cookies))
    )
    if brings:
        finding.open.append("the API key")
    elif not keys.optional:
        finding.refuse(_UNAUTHORIZED, "unauthorized", "there is no API key")
    return brings


def _basic(finding: _Finding, basic: ir.Basic, seen: _Seen) -> bool:
    optional = ", if it brings any" if basic.optional else ""
    whose = f"one of {len(basic.users)} users, in `Authorization: Basic`{optional}"
    finding.needs.append(f"name and password of {whose}")
    brings = (seen.header("authorization") or "").startswith("Basic ")
    if brings:
        finding.open.append("the password")
    elif not basic.optional:
        finding.refuse(_UNAUTHORIZED, "unauthorized", "there is no user name and password")
    return brings


def _together(finding: _Finding, needs: ir.Needs, brought: Mapping[str, _Met], seen: _Seen) -> None:
    """What is needed of credentials each of which may be missing."""
    names = [_KINDS.get(kind, kind) for kind in needs.kinds]
    but = [
        " and ".join(words for words, _ in _conditions(one, ir.Auth(), seen)) or "everything"
        for one in needs.exempt
    ]
    exempt = f", but for {' or '.join(but)}" if but else ""
    how = "one of them: " if needs.any_of else ""
    finding.needs.append(f"{how}{' or '.join(names) if needs.any_of else ' and '.join(names)}{exempt}")
    if any(_all(holds for _, holds in _conditions(one, ir.Auth(), seen)) for one in needs.exempt):
        return
    there = [brought.get(kind, False) for kind in needs.kinds]
    if (_any(there) if needs.any_of else _all(there)) is False:
        finding.refuse(_UNAUTHORIZED, "unauthorized", f"there is no {' or '.join(names)}")


_KINDS: Final = {"key": "API key", "user": "password"}


# --- rules ------------------------------------------------------------------------------------------------


def _all(several: Iterable[_Met]) -> _Met:
    listed = list(several)
    return False if False in listed else None if None in listed else True


def _any(several: Iterable[_Met]) -> _Met:
    listed = list(several)
    return True if True in listed else None if None in listed else False


def _rules(finding: _Finding, auth: ir.Auth, seen: _Seen) -> Iterator[Data]:
    rules = auth.rules
    assert rules is not None
    verdicts: dict[str, list[_Met]] = {"allow": [], "deny": []}
    for kind, listed in (("deny", rules.deny), ("allow", rules.allow or ())):
        for rule in listed:
            parts = list(_conditions(rule, auth, seen))
            met = _all(holds for _, holds in parts)
            verdicts[kind].append(met)
            data: Data = {"kind": kind, "words": " and ".join(words for words, _ in parts) or "everybody"}
            if rule.name:
                data["name"] = rule.name
            data["holds"] = met
            lacking = next((words for words, holds in parts if holds is False), "")
            if lacking:
                data["fails"] = lacking
            yield data
    if rules.shadow:
        return
    denied = _any(verdicts["deny"])
    allowed = True if rules.allow is None else _any(verdicts["allow"])
    if denied:
        finding.refuse(_FORBIDDEN, "forbidden", "a rule denies it")
    elif allowed is False:
        error = "insufficient_scope" if auth.scopes else "forbidden"
        finding.refuse(_FORBIDDEN, error, "no rule allows it")
    elif denied is None or allowed is None:
        finding.open.append("the rules")


def _conditions(rule: ir.AuthRule, auth: ir.Auth, seen: _Seen) -> Iterator[tuple[str, _Met]]:
    """(in words, whether it holds)"""
    for claim in rule.claims:
        name = ".".join(claim.path)
        words = f"{'scope' if name == 'scope' else f'claim {name}'} {' or '.join(claim.values)}"
        yield words, None if auth.jwt is not None or auth.introspection is not None else False
    for title, names, known in (
        ("consumer", rule.consumers, _identified(auth) or auth.redis_keys is not None),
        ("group", rule.groups, _identified(auth) or auth.redis_keys is not None),
        (
            "certificate",
            tuple(f"{one.kind} {one.value}{'*' if one.prefix else ''}" for one in rule.principals),
            True,
        ),
    ):
        if names:
            yield f"{title} {' or '.join(names)}", None if known else False
    if rule.methods:
        yield f"method {' or '.join(rule.methods)}", seen.method in rule.methods
    if rule.paths:
        shown = " or ".join(f"{value}{'/*' if kind == 'prefix' else ''}" for kind, value in rule.paths)
        yield f"path {shown}", any(_path(kind, value, seen) for kind, value in rule.paths)
    for name, value, regex in rule.headers:
        given = seen.header(name)
        holds = given is not None and (
            seen.compile(value).fullmatch(given) is not None if regex else given == value
        )
        yield f"header {name}: {value}", holds
    if rule.addresses:
        inside = None if seen.client is None else any(_within(seen.client, one) for one in rule.addresses)
        yield f"client in {' or '.join(rule.addresses)}", inside
    if rule.user_agents:
        agent = seen.header("user-agent")
        holds = agent is not None and any(seen.compile(one).fullmatch(agent) for one in rule.user_agents)
        yield f"user agent {' or '.join(rule.user_agents)}", holds


def _identified(auth: ir.Auth) -> bool:
    """Whether a route may find out which Consumer a client is."""
    user = auth.basic.consumers if auth.basic is not None else None
    return any(one is not None for one in (auth.keys, auth.certificate, auth.token_of, user))


def _path(kind: str, value: str, seen: _Seen) -> bool:
    match kind:
        case "exact":
            return seen.path == value
        case "prefix":
            stem = value.rstrip("/")
            return seen.path == stem or seen.path.startswith(f"{stem}/")
        case _:
            return seen.compile(value).fullmatch(seen.path) is not None


def _within(address: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def lines(data: Mapping[str, Any]) -> Iterator[str]:
    """As lines of an explanation."""
    access = data.get("access")
    if access is None:
        return
    title = "  needs         "
    for need in access["needs"]:
        yield f"{title}{need}"
        title = " " * len(title)
    for rule in access.get("rules", ()):
        name = f" {rule['name']}" if "name" in rule else ""
        holds = {True: "holds", False: "does not hold", None: "is to be seen"}[rule["holds"]]
        because = f": not {rule['fails']}" if "fails" in rule and rule["words"] != rule["fails"] else ""
        dry = ", dry run" if access["shadow"] else ""
        yield f"  {rule['kind']:<12}  {rule['words']}{name} ({holds}{because}{dry})"
    match access["verdict"]:
        case "refused":
            yield f"  access        {access['status']} {access['error']}: {access['why']}"
        case "depends":
            yield f"  access        depends on {', '.join(access['depends'])}"
        case _:
            yield "  access        passes"
