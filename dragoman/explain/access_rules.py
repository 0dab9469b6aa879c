"""The rules of a route, each in words and with whether it holds. Called by `access`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from dragoman.explain import finding as findings
from dragoman.ir import model as ir

Data = dict[str, Any]


def found(finding: findings.Finding, auth: ir.Auth, seen: findings.Seen) -> Iterator[Data]:
    """Each rule; what they come to goes into `finding`."""
    rules = auth.rules
    assert rules is not None
    verdicts: dict[str, list[findings.Met]] = {"allow": [], "deny": []}
    for kind, listed in (("deny", rules.deny), ("allow", rules.allow or ())):
        for rule in listed:
            parts = list(conditions(rule, auth, seen))
            met = findings.every(holds for _, holds in parts)
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
    denied = findings.some(verdicts["deny"])
    allowed = True if rules.allow is None else findings.some(verdicts["allow"])
    if denied:
        finding.refuse(findings.FORBIDDEN, "forbidden", "a rule denies it")
    elif allowed is False:
        error = "insufficient_scope" if auth.scopes else "forbidden"
        finding.refuse(findings.FORBIDDEN, error, "no rule allows it")
    elif denied is None or allowed is None:
        finding.open.append("the rules")


def conditions(rule: ir.AuthRule, auth: ir.Auth, seen: findings.Seen) -> Iterator[tuple[str, findings.Met]]:
    """(in words, whether it holds)"""
    for claim in rule.claims:
        name = ".".join(claim.path)
        words = f"{'scope' if name == 'scope' else f'claim {name}'} {' or '.join(claim.values)}"
        read = auth.jwt is not None or auth.introspection is not None
        said = bool(seen.claimed(claim.path) & {*claim.values}) if seen.claims else None
        yield words, said if read else False
    for title, names, known in (
        ("consumer", rule.consumers, _identified(auth)),
        ("group", rule.groups, _identified(auth)),
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
    said = (one.consumers for one in (auth.certificate, auth.basic, auth.introspection) if one is not None)
    return any(one is not None for one in (auth.keys, auth.redis_keys, auth.token_of, *said))


def _path(kind: str, value: str, seen: findings.Seen) -> bool:
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
