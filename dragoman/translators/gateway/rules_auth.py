"""Rules of AuthPolicies that span several fields."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from dragoman.diagnostics import Diagnostic, error
from dragoman.refs import Origin, Ref
from dragoman.translators.gateway import (
    matching,
    rules_auth_lookups,
    rules_auth_more,
    rules_auth_oidc,
    rules_auth_routing,
    rules_policies,
)
from dragoman.translators.gateway.models import auth_jwt, auth_rules, authpolicy, httproute
from dragoman.translators.gateway.policies import auth_answers, auth_basic, auth_methods


def check(ref: Ref, spec: authpolicy.AuthPolicy) -> Iterator[Diagnostic]:
    """What is wrong with an AuthPolicy although each of its fields is well formed."""
    yield from rules_policies.check(ref, spec)
    if spec.jwt is not None:
        yield from _jwt(Origin(ref, ("spec", "jwt")), spec.jwt)
    if spec.cors is not None:
        yield from rules_auth_more.cors(Origin(ref, ("spec", "cors")), spec.cors)
    if spec.csrf is not None:
        yield from rules_auth_more.csrf(Origin(ref, ("spec", "csrf")), spec.csrf)
    if spec.external is not None:
        yield from rules_auth_more.external(Origin(ref, ("spec", "external")), spec.external)
    if spec.answers is not None:
        yield from auth_answers.findings(Origin(ref, ("spec", "answers")), spec.answers)
    if spec.basic is not None:
        yield from auth_basic.findings(Origin(ref, ("spec", "basic")), spec.basic)
    if spec.oidc is not None:
        yield from rules_auth_oidc.check(Origin(ref, ("spec", "oidc")), spec.oidc)
    for at, excluded in enumerate(spec.exclude or ()):
        here = Origin(ref, ("spec", "exclude", at))
        if not excluded.paths and not excluded.methods:
            yield error("DRG1108", "it would be every request", here, label="say `paths` or `methods`")
        yield from _paths(here, excluded.paths)
    strict = auth_methods.strict(spec)
    for name in ("combine", "exclude") if strict else ():
        if getattr(spec, name) not in (None, "All", ()):
            message = f"`{name}` is not for policies with {' and '.join(f'`{each}`' for each in strict)}"
            yield error("DRG1108", message, Origin(ref, ("spec", name)))
    yield from rules_auth_lookups.check(Origin(ref, ("spec",)), spec)
    yield from rules_auth_routing.check(ref, spec)
    if spec.rules is not None:
        for name, rules in (("allow", spec.rules.allow), ("deny", spec.rules.deny)):
            for at, rule in enumerate(rules or ()):
                yield from _rule(Origin(ref, ("spec", "rules", name, at)), rule)


def _jwt(where: Origin, given: auth_jwt.Jwt) -> Iterator[Diagnostic]:
    seen: set[str] = set()
    for at, provider in enumerate(given.providers or ()):
        here = where.at("providers", at)
        if provider.name in seen:
            yield error("DRG1108", f"provider `{provider.name}` is listed twice", here.at("name"))
        seen.add(provider.name)
        said = [one for one in ("uri", "inline", "ref") if getattr(provider.jwks, one) is not None]
        if len(said) > 1:
            both = " and ".join(f"`{one}`" for one in said)
            yield error("DRG1108", f"keys come from one place, not from {both}", here.at("jwks"))
        if not said and not provider.issuer.startswith(("https://", "http://")):
            message = f"the issuer `{provider.issuer}` is no URL, so nobody can be asked for its keys"
            yield error("DRG1108", message, here.at("issuer"), help="say `jwks`")
        for number, one in enumerate(provider.claims_to_headers):
            yield from rules_auth_more.told(here.at("claimsToHeaders", number, "header"), one.header)
        if provider.payload_header is not None:
            yield from rules_auth_more.told(here.at("payloadHeader"), provider.payload_header)
        if not 0 <= provider.clock_skew <= 86_400:
            yield error(
                "DRG1104", "`clockSkew` is out of range", here.at("clockSkew"), label="expected 0s to 24h"
            )


def _rule(where: Origin, given: auth_rules.Rule) -> Iterator[Diagnostic]:
    yield from rules_auth_more.rule(where, given)
    for at, network in enumerate(given.client_addresses):
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            label = "expected a network such as 10.0.0.0/8 or 2001:db8::/32"
            message = f"`{network}` is no network"
            yield error("DRG1103", message, where.at("clientAddresses", at), label=label)
    for at, one in enumerate(given.headers):
        if one.type == "RegularExpression" and (flaw := matching.flaw_of(one.value)):
            yield matching.bad(one.value, flaw, where.at("headers", at, "value"))
    yield from _paths(where, given.paths)


def _paths(where: Origin, given: tuple[httproute.PathMatch, ...]) -> Iterator[Diagnostic]:
    for at, path in enumerate(given):
        here = where.at("paths", at, "value")
        if path.type == "RegularExpression":
            if flaw := matching.flaw_of(path.value):
                yield matching.bad(path.value, flaw, here)
        elif not path.value.startswith("/"):
            yield error("DRG1103", f"`{path.value}` is no path", here, label="expected /...")
