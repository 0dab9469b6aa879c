"""AuthPolicies -> what routes ask of requests.

Fails closed: a route under a policy that cannot be put into force (its keys are not there, it does not
decode) answers 500 with the diagnostic's code, and no backend is asked.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from dragoman.diagnostics import Diagnostic, error, warning
from dragoman.ir import model as ir
from dragoman.refs import Origin, Ref
from dragoman.translators.gateway.models import auth_rules, authpolicy, httproute, policy
from dragoman.translators.gateway.policies import (
    auth_answers,
    auth_basic,
    auth_browsers,
    auth_clients,
    auth_external,
    auth_lookups,
    auth_methods,
    auth_oidc_routes,
    auth_routing,
    auth_sources,
    auth_subjects,
    merge,
)

Layers = tuple[merge.Layer[authpolicy.AuthPolicy], ...]
KeysOf = Callable[[Ref], auth_sources.Keys | None]
StandingOf = Callable[[Ref], auth_lookups.Standing | None]

_CLOSED: Final = 500


def apply(
    route: ir.Route,
    layers: Layers,
    keys_of: KeysOf,
    asked: ir.ClusterKey | None = None,
    standing_of: StandingOf = lambda _: None,
) -> tuple[ir.Route, tuple[ir.Said, ...]]:
    """The route as the policies want it, and what they say. `asked`: the cluster of the service that
    `external` names, if its reference leads somewhere; `standing_of`: a policy's introspection."""
    broken = next((layer.ref for layer in layers if isinstance(layer.spec, authpolicy.Broken)), None)
    if broken is not None:
        return _closed(route, "DRG1802", f"{broken} is not valid"), ()
    merged = merge.merge(layers)
    jwt = policy.on(merged.spec.jwt)
    wanted: ir.Jwt | None = None
    if jwt is not None:
        sayer = merged.says.get(("jwt", "providers"))
        held = keys_of(sayer) if sayer is not None else None
        if held is None or held.flaws:
            why = held.flaws[0].message if held is not None else "no issuer is named"
            return _closed(route, "DRG1801", why), merged.said
        wanted = ir.Jwt(auth_sources.with_keys(jwt, held.by_name), bool(jwt.optional))
    login: ir.Login | None = None
    if policy.on(merged.spec.oidc) is not None:
        held = keys_of(merged.says[("oidc",)])
        if held is None or held.login is None:
            return _closed(route, "DRG1841", "nobody can log in"), merged.said
        login, wanted = auth_oidc_routes.on_route(held.login, wanted)
    by_name: ir.Basic | None = None
    basic = policy.on(merged.spec.basic)
    if basic is not None:
        held = keys_of(merged.says[("basic",)])
        if held is None or held.users is None:
            return _closed(route, "DRG1852", "nobody knows the users"), merged.said
        by_name = auth_basic.asked(basic, held.users, merged.says[("basic",)].namespace)
    rules = policy.on(merged.spec.rules)
    keys = policy.on(merged.spec.api_keys)
    known = auth_clients.asked(keys, merged.says[("apiKeys",)].namespace) if keys is not None else None
    token_of = auth_subjects.of_token(jwt, merged) if jwt is not None else None
    certificate = auth_subjects.certificate(merged)
    external: ir.External | None = None
    service = policy.on(merged.spec.external)
    if service is not None:
        if asked is None:
            return _closed(route, "DRG1821", "the service that is to be asked is not there"), merged.said
        external = auth_external.made(service, asked)
    tokens: ir.Introspection | None = None
    if (given := policy.on(merged.spec.introspection)) is not None:
        sayer = merged.says[("introspection",)]
        tokens = auth_lookups.introspection(given, sayer, standing_of(sayer))
        if tokens is None:
            return _closed(route, "DRG1861", "nobody can be asked about tokens"), merged.said
    counted: ir.RedisKeys | None = None
    if (wanted_keys := policy.on(merged.spec.redis_keys)) is not None:
        if known is not None:
            return _closed(route, "DRG1862", "API keys are known in two ways"), merged.said
        counted = auth_lookups.redis_keys(wanted_keys, merged.says[("redisKeys",)])
    held_rules = _rules(rules) if rules is not None else None
    auth = ir.Auth(
        wanted,
        held_rules,
        _scopes(rules),
        known,
        external,
        login=login,
        certificate=certificate,
        token_of=token_of,
        basic=by_name,
        answers=auth_answers.made(merged),
        introspection=tokens,
        redis_keys=counted,
    )
    auth = auth_methods.relaxed(auth, _exempt(merged.spec.exclude or ()), any_of=merged.spec.combine == "Any")
    route = auth_browsers.apply(route, merged.spec)
    return (replace(route, auth=auth) if auth != ir.Auth() else route), merged.said


def closed(route: ir.Route, code: str) -> ir.Route:
    """The route where nobody passes, since something that decides is not there."""
    return replace(_closed(route, code, ""), auth=None, csrf=None)


def findings(layers: Layers) -> tuple[Diagnostic, ...]:
    """What is wrong with the policies together, although each of them is right."""
    if any(isinstance(layer.spec, authpolicy.Broken) for layer in layers):
        return ()
    merged = merge.merge(layers)
    return (*_keys_twice(merged), *_strict(merged), *_unproven(merged))


def _keys_twice(merged: merge.Merged[authpolicy.AuthPolicy]) -> Iterator[Diagnostic]:
    if policy.on(merged.spec.redis_keys) is None or policy.on(merged.spec.api_keys) is None:
        return
    message = f"{merged.says[('apiKeys',)]} lets the API keys of Consumers in, so none of Redis passes"
    hint = "switch one off: `apiKeys: {disabled: true}`"
    yield error("DRG1862", message, Origin(merged.says[("redisKeys",)], ("spec", "redisKeys")), help=hint)


def _strict(merged: merge.Merged[authpolicy.AuthPolicy]) -> Iterator[Diagnostic]:
    """Within one policy `rules_auth` refuses it."""
    names = auth_methods.strict(merged.spec)
    if not names:
        return
    name, beside = names[0], " and ".join(f"`{each}`" for each in names)
    for other in ("combine", "exclude"):
        if getattr(merged.spec, other) in (None, "All", ()):
            continue
        origin = Origin(merged.says[(name,)], ("spec", name))
        message = (
            f"`{other}` of {merged.says[(other,)]} does not hold beside {beside}: every credential is needed"
        )
        unsaid = "combine: All" if other == "combine" else "exclude: []"
        yield error("DRG1863", message, origin, help=f"say `{unsaid}` here, or `{name}: {{disabled: true}}`")


def _unproven(merged: merge.Merged[authpolicy.AuthPolicy]) -> Iterator[Diagnostic]:
    """Rules and cases about what nothing here brings to light: one of `allow` meets nobody then, nor does
    one of `deny`, nor a case."""
    spec = merged.spec
    if auth_routing.proven(spec):
        return
    hint = "say `jwt` or `introspection`" if policy.on(spec.oidc) is None else "say `jwt` beside `oidc`"
    rules = policy.on(spec.rules) or auth_rules.Rules()
    for name, given in (("allow", rules.allow), ("deny", rules.deny)):
        if any(rule.claims or rule.scopes is not None for rule in given or ()):
            message = f"`{name}` asks for claims or scopes, but no policy here reads a token's"
            where = Origin(merged.says[("rules",)], ("spec", "rules", name))
            yield warning("DRG1864", message, where, help=hint)
    if policy.on(spec.routing) is not None:
        message = "`routing` asks for claims, but no policy here reads a token's"
        where = Origin(merged.says[("routing",)], ("spec", "routing"))
        yield warning("DRG1864", message, where, help=hint)


def _closed(route: ir.Route, code: str, why: str) -> ir.Route:
    """Nobody passes. The reason is for the operator: it stands in diagnostics and status, not in the
    answer."""
    del why
    body = json.dumps(
        {"error": "misconfigured", "code": code, "message": "the gateway cannot check who may pass"}
    )
    return replace(route, action=ir.Respond(_CLOSED, body), cors=None, limits=())


@functools.lru_cache(maxsize=4096)
def _rules(given: auth_rules.Rules) -> ir.AuthRules:
    return ir.AuthRules(
        tuple(map(_rule, given.allow)) if given.allow is not None else None,
        tuple(map(_rule, given.deny or ())),
        bool(given.shadow),
    )


@functools.lru_cache(maxsize=4096)
def _exempt(given: tuple[auth_rules.Excluded, ...]) -> tuple[ir.AuthRule, ...]:
    return tuple(ir.AuthRule(methods=one.methods, paths=_paths(one.paths)) for one in given)


def _paths(given: tuple[httproute.PathMatch, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((_KINDS[one.type], one.value) for one in given)


def _rule(given: auth_rules.Rule) -> ir.AuthRule:
    claims = [ir.Claim(tuple(one.name.split(".")), one.values) for one in given.claims]
    if given.scopes is not None:
        claims += [ir.Claim(("scope",), (scope,)) for scope in given.scopes.all_of]
        claims += [ir.Claim(("scope",), given.scopes.any_of)] if given.scopes.any_of else []
    return ir.AuthRule(
        given.name,
        tuple(claims),
        given.methods,
        _paths(given.paths),
        tuple((one.name.lower(), one.value, one.type == "RegularExpression") for one in given.headers),
        given.client_addresses,
        given.consumers,
        given.groups,
        tuple(
            ir.Principal(one.type, one.exact or one.prefix or "", one.exact is None)
            for one in given.principals
        ),
        given.user_agents,
    )


_KINDS: Final = {"Exact": "exact", "PathPrefix": "prefix", "RegularExpression": "regex"}


def _scopes(given: auth_rules.Rules | None) -> tuple[str, ...]:
    """The scopes that the rules ask for, for the answer to those who lack them."""
    if given is None:
        return ()
    found = [rule.scopes for rule in given.allow or () if rule.scopes is not None]
    return tuple(dict.fromkeys(scope for one in found for scope in (*one.all_of, *one.any_of)))
