"""Consumers that are known by a token, a certificate ...: who it is, without refusing anybody.

It is a map from (how it is known, what it says) to a client, as Envoy has them in matchers: a shadow matcher
of `rbac` looks up two headers in hash maps and leaves the name of what it found in metadata. The name holds
all there is to say of the client. What it would allow or deny counts for nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from typing import cast

from dragoman import proto
from dragoman.envoy.filters import base, credentials, described
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.rbac import v3 as config
from dragoman.proto.envoy.extensions.filters.http.rbac import v3 as rbac
from dragoman.proto.envoy.type.matcher import v3 as inputs
from dragoman.proto.xds.core import v3 as xds_core
from dragoman.proto.xds.type.matcher import v3 as matcher


class Consumers:
    """`envoy.filters.http.rbac`, under a name of its own."""

    name = "dragoman.consumers"
    disabled = True
    sensitive = False
    by = credentials.SUBJECT
    type_url = proto.type_url("envoy.extensions.filters.http.rbac.v3.RBAC")

    def per_route(self, route: ir.Route) -> base.Config | None:
        return base.WAKE if route.auth is not None and credentials.known_by(route.auth) else None

    def demands(self, route: ir.Route) -> Iterable[ir.SubjectSet]:
        return (
            [ir.SubjectSet(one.namespace) for one in credentials.known_by(route.auth)] if route.auth else ()
        )

    def slot(self, part: Hashable) -> Hashable:
        return part

    def shared(self, demands: Collection[Hashable]) -> base.Config:
        message = rbac.RBAC(shadow_rules_stat_prefix=credentials.FOUND_PREFIX)
        owners: dict[tuple[str, str], ir.Client | None] = {}
        for one in demands:
            subjects = cast(ir.Subjects, one)
            for proof, value, client in subjects.known:
                known = credentials.by(subjects.namespace, proof), value
                # Of two Consumers with one subject nobody can tell which it is: neither.
                owners[known] = client if owners.get(known, client) == client else None
        kinds: dict[str, matcher.Matcher.MatcherTree] = {}
        for (how, value), owner in sorted(owners.items(), key=lambda each: each[0]):
            if owner is None:
                continue
            if how not in kinds:
                kinds[how] = _kind(message.shadow_matcher, how)
            _found(kinds[how].exact_match_map.map[value].action, how.split(" ", 1)[0], owner)
        return base.config(message)


FILTER = Consumers()


def _kind(target: matcher.Matcher, how: str) -> matcher.Matcher.MatcherTree:
    _input(target.matcher_tree.input, credentials.SUBJECT_BY)
    inner = target.matcher_tree.exact_match_map.map[how].matcher.matcher_tree
    _input(inner.input, credentials.SUBJECT)
    return inner


def _input(target: xds_core.TypedExtensionConfig, header: str) -> None:
    target.name = "header"
    target.typed_config.CopyFrom(proto.pack_any(inputs.HttpRequestHeaderMatchInput(header_name=header)))


def _found(target: xds_core.TypedExtensionConfig, kind: str, client: ir.Client) -> None:
    action = config.Action(name=described.client(client, kind), action=config.RBAC.ALLOW)
    target.name = "client"
    target.typed_config.CopyFrom(proto.pack_any(action))
