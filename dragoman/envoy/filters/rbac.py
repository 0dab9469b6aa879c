"""Rules on who may pass: scopes and claims of a token, methods, paths, headers, addresses.

One policy says all of it: allowed is who meets one of the rules that allow, and none of those that deny.
Everything is said as a principal, since principals know all that is needed and can be combined. Comes after
the filters that find out who somebody is.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from dragoman import proto
from dragoman.envoy.filters import base, clients, jwt_authn
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.rbac import v3 as config
from dragoman.proto.envoy.extensions.filters.http.rbac import v3 as rbac
from dragoman.proto.envoy.extensions.rbac.principals.mtls_authenticated import v3 as mtls
from dragoman.proto.envoy.extensions.transport_sockets.tls import v3 as tls

POLICY: Final = "rules"
"""The one policy's name; it stands in the response code details of those who are refused."""

_SAN_TYPES: Final = {"URI": tls.SubjectAltNameMatcher.URI, "DNS": tls.SubjectAltNameMatcher.DNS}


class Rbac:
    """`envoy.filters.http.rbac`."""

    name = "envoy.filters.http.rbac"
    disabled = True

    def config(self) -> base.Config:
        return base.config(rbac.RBAC())

    def per_route(self, route: ir.Route) -> base.Config | None:
        auth = route.auth
        if auth is None or (auth.rules is None and auth.keys is None):
            return None
        return _per_route(auth.rules, auth.keys)


FILTER = Rbac()


@functools.lru_cache(maxsize=4096)
def _per_route(rules: ir.AuthRules | None, keys: ir.ApiKeys | None) -> base.Config:
    """A dry run of the rules is none of whose keys are good here."""
    message = rbac.RBACPerRoute()
    known = [_member(keys)] if keys is not None else []
    if rules is not None and rules.shadow:
        _allow(message.rbac.shadow_rules, _met(rules))
    else:
        known += _met(rules) if rules is not None else []
    if known:
        _allow(message.rbac.rules, known)
    return base.config(message)


def _allow(target: config.RBAC, all_of: list[config.Principal]) -> None:
    target.action = config.RBAC.ALLOW
    policy = target.policies[POLICY]
    policy.permissions.add().any = True
    policy.principals.add().and_ids.ids.extend(all_of)


def _met(rules: ir.AuthRules) -> list[config.Principal]:
    """What must hold where there are rules."""
    both = [config.Principal()]
    if rules.allow is None:
        both[0].any = True
    else:
        any_of(both[0], [rule(one) for one in rules.allow])
    if rules.deny:
        both.append(config.Principal())
        any_of(both[1].not_id, [rule(one) for one in rules.deny])
    return both


def _member(keys: ir.ApiKeys) -> config.Principal:
    """A client of one of the sets. The filter before this one knows the keys of all routes together."""
    several: list[config.Principal] = []
    for one in keys.sets:
        parts = [client("namespace", one.namespace), client("secret", one.secret)]
        if not one.secret and (keys.consumers or keys.groups):
            parts.append(limit := config.Principal())
            named = [client("id", name) for name in keys.consumers]
            any_of(limit, [*named, *(client("groups", group) for group in keys.groups)])
        several.append(all_of(parts))
    made = config.Principal()
    any_of(made, several)
    return _unless_by("key", made) if keys.optional else made


def _unless_by(kind: str, needed: config.Principal) -> config.Principal:
    """`needed`, of those who are known by that kind of credential."""
    otherwise = config.Principal()
    otherwise.not_id.CopyFrom(client("via", kind))
    made = config.Principal()
    any_of(made, [needed, otherwise])
    return made


def client(field: str, value: str) -> config.Principal:
    """A field of the client, or an entry of the list `groups`. No client meets nothing."""
    made = config.Principal()
    matcher = made.sourced_metadata.metadata_matcher
    matcher.filter = clients.NAMESPACE
    for step in (clients.CLIENT, field):
        matcher.path.add().key = step
    target = matcher.value.list_match.one_of if field == "groups" else matcher.value
    target.string_match.exact = value
    return made


def any_of(target: config.Principal, several: Iterable[config.Principal]) -> None:
    """One of `several`; of none, nobody. Written to `target`."""
    found = list(several)
    if not found:
        target.not_id.any = True
    elif len(found) == 1:
        target.CopyFrom(found[0])
    else:
        target.or_ids.ids.extend(found)


def all_of(several: Iterable[config.Principal]) -> config.Principal:
    """All of `several`; of none, everybody."""
    found = list(several)
    made = config.Principal()
    if not found:
        made.any = True
    elif len(found) == 1:
        made.CopyFrom(found[0])
    else:
        made.and_ids.ids.extend(found)
    return made


def rule(given: ir.AuthRule) -> config.Principal:
    """Who meets a given."""
    parts = [_claim(claim) for claim in given.claims]
    for name, value, regex in given.headers:
        parts.append(made := config.Principal())
        made.header.name = name
        if regex:
            made.header.string_match.safe_regex.regex = value
        else:
            made.header.string_match.exact = value
    for several in (
        [_method(method) for method in given.methods],
        [_path(kind, value) for kind, value in given.paths],
        [_address(network) for network in given.addresses],
        [client("id", name) for name in given.consumers],
        [client("groups", group) for group in given.groups],
        [_principal(one) for one in given.principals],
        [_user_agent(pattern) for pattern in given.user_agents],
    ):
        if several:
            parts.append(made := config.Principal())
            any_of(made, several)
    return all_of(parts)


def _claim(claim: ir.Claim) -> config.Principal:
    """A value, or a list with it. Claims that are not there meet nothing."""
    several: list[config.Principal] = []
    for value in claim.values:
        for listed in (False, True):
            several.append(made := config.Principal())
            matcher = made.sourced_metadata.metadata_matcher
            matcher.filter = jwt_authn.FILTER.name
            for step in (jwt_authn.PAYLOAD, *claim.path):
                matcher.path.add().key = step
            target = matcher.value.list_match.one_of if listed else matcher.value
            target.string_match.exact = value
    made = config.Principal()
    any_of(made, several)
    return made


def _principal(wanted: ir.Principal) -> config.Principal:
    """A name of the client's certificate. Envoy's `authenticated` would believe certificates that nobody
    checked, where a listener lets these in."""
    message = mtls.Config()
    message.san_matcher.san_type = _SAN_TYPES[wanted.kind]
    if wanted.prefix:
        message.san_matcher.matcher.prefix = wanted.value
    else:
        message.san_matcher.matcher.exact = wanted.value
    return authenticated(message)


def authenticated(message: mtls.Config) -> config.Principal:
    """The client's certificate was checked, and is as `message` wants it."""
    made = config.Principal()
    made.custom.name = "envoy.rbac.principals.mtls_authenticated"
    made.custom.typed_config.CopyFrom(proto.pack_any(message))
    return made


def _user_agent(pattern: str) -> config.Principal:
    made = config.Principal()
    made.header.name = "user-agent"
    made.header.string_match.safe_regex.regex = pattern
    return made


def _method(method: str) -> config.Principal:
    made = config.Principal()
    made.header.name = ":method"
    made.header.string_match.exact = method
    return made


def _path(kind: str, value: str) -> config.Principal:
    """Of the path without the query, as it is after normalisation."""
    made = config.Principal()
    match kind:
        case "exact":
            made.url_path.path.exact = value
        case "prefix" if value.rstrip("/"):
            # What stands behind `^` costs nothing of the hundred instructions that Envoy takes.
            made.url_path.path.safe_regex.regex = f"^{re.escape(value.rstrip('/'))}(/.*)?"
        case "prefix":
            made.url_path.path.prefix = "/"
        case _:
            made.url_path.path.safe_regex.regex = value
    return made


def _address(network: str) -> config.Principal:
    """The client's address: behind trusted proxies the one that they report."""
    made = config.Principal()
    parsed = ipaddress.ip_network(network, strict=False)
    made.remote_ip.address_prefix = str(parsed.network_address)
    made.remote_ip.prefix_len.value = parsed.prefixlen
    return made
