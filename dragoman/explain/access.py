"""What a request needs to pass a route, and whether this one does, as far as that can be told here.

Credentials are not checked: nobody here knows secrets, and one that is there counts as "to be checked"; a
token is good if the request says what it says. What is plain to see is decided: a credential that is missing
(`access_credentials`), rules on methods, paths, headers and addresses (`access_rules`), pages of other hosts.
The order is that of the filters. Called by `request`, and by `admin.anatomy` for a route without any request;
`text` prints it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import re2

from dragoman.explain import (
    access_credentials as credentials,
    access_lookups,
    access_rules,
    finding as findings,
)
from dragoman.ir import model as ir
from dragoman.ir.match import Compile
from dragoman.ir.request import Prepared, Request

Data = dict[str, Any]

PASSES, REFUSED, DEPENDS = "passes", "refused", "depends"
"""What is known of the request: it passes, it does not, or that hangs on what is not known here."""

_SAFE: Final = ("GET", "HEAD", "OPTIONS", "TRACE", "CONNECT")
_ANY: Final = Request("", "/")
_PREPARED: Final = Prepared("", "", "/", None, {})
_KINDS: Final = {
    "key": "API key",
    "user": "password",
    "introspected": "active token",
    "redis": "API key that Redis knows",
}


def found(route: ir.Route, request: Request, prepared: Prepared, compile: Compile) -> Data | None:
    """`needs` in words; `rules` in words, each with whether it holds; `verdict`, with `status`, `error` and
    `why` where it refuses, or `depends` on what. None: nothing is asked."""
    auth = route.auth or ir.Auth()
    finding = findings.Finding()
    seen = findings.Seen(request, prepared, compile)
    if route.csrf is not None:
        _csrf(finding, route.csrf, seen)
    bearer = credentials.login(finding, auth, seen)
    brought: dict[str, findings.Met] = {}
    if auth.jwt is not None:
        session = auth.login is not None and not bearer
        brought["token"] = credentials.jwt(finding, auth.jwt, seen, session=session)
    if auth.keys is not None:
        brought["key"] = credentials.keys(finding, auth.keys, seen)
    if auth.basic is not None:
        brought["user"] = credentials.basic(finding, auth.basic, seen)
    if auth.certificate is not None:
        brought["certificate"] = None
        shown = ", if it shows any" if auth.certificate.optional else ""
        finding.needs.append(f"a client's certificate that was checked, of a Consumer{shown}")
        finding.open.append("the certificate")
    asked = access_lookups.brought(finding, auth, seen)
    brought |= asked
    if auth.needs is not None:
        _together(finding, auth.needs, brought, seen)
    if auth.external is not None:
        where = f"{auth.external.cluster.ref}"
        finding.needs.append(f"the consent of {where}, which is asked about each request")
        finding.open.append(f"what {where} says")
    for need, depends in access_lookups.needs(auth, asked, known=bool(seen.claims)):
        finding.needs.append(need)
        finding.open += [depends] if depends else []
    rules = list(access_rules.found(finding, auth, seen)) if auth.rules is not None else []
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


def _csrf(finding: findings.Finding, wanted: ir.Csrf, seen: findings.Seen) -> None:
    friends = (*wanted.hosts, *wanted.patterns)
    others = f", or of {', '.join(friends)}" if friends else ""
    finding.needs.append(f"to change something: a page of the same host{others}")
    if seen.method in _SAFE:
        return
    said = seen.header("origin")
    page = said if said is not None else seen.header("referer")
    host = urlsplit(page).netloc if page is not None else None
    if not host:
        finding.refuse(findings.FORBIDDEN, "forbidden", "it does not say which page it comes from")
    elif host != seen.prepared.authority and not _friend(host, wanted, seen.compile):
        finding.refuse(findings.FORBIDDEN, "forbidden", f"it comes from a page of {host}")


def _friend(host: str, wanted: ir.Csrf, compile: Compile) -> bool:
    def like(pattern: str) -> bool:
        before, star, after = pattern.partition("*")
        if not star:
            return host == pattern
        return len(host) > len(before) + len(after) and host.startswith(before) and host.endswith(after)

    return any(map(like, wanted.hosts)) or any(compile(one).fullmatch(host) for one in wanted.patterns)


def _together(
    finding: findings.Finding, needs: ir.Needs, brought: Mapping[str, findings.Met], seen: findings.Seen
) -> None:
    """What is needed of credentials each of which may be missing."""
    names = [_KINDS.get(kind, kind) for kind in needs.kinds]
    but = [
        " and ".join(words for words, _ in access_rules.conditions(one, ir.Auth(), seen)) or "everything"
        for one in needs.exempt
    ]
    exempt = f", but for {' or '.join(but)}" if but else ""
    how = "one of them: " if needs.any_of else ""
    finding.needs.append(f"{how}{' or '.join(names) if needs.any_of else ' and '.join(names)}{exempt}")
    if any(
        findings.every(holds for _, holds in access_rules.conditions(one, ir.Auth(), seen))
        for one in needs.exempt
    ):
        return
    there = [brought.get(kind, False) for kind in needs.kinds]
    if (findings.some(there) if needs.any_of else findings.every(there)) is False:
        finding.refuse(findings.UNAUTHORIZED, "unauthorized", f"there is no {' or '.join(names)}")


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
