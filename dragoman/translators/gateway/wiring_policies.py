"""The statuses of policies: whose Gateways they reach. A part of `wiring`.

The ancestors of a policy (GEP-713, PolicyStatus) are the Gateways that serve what it targets: the Gateway
itself, those of a route's listeners, those whose routes reach a backend. A policy that reaches none is told
so at its targets instead: silence would look like a controller that is down.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from dragoman.diagnostics import Diagnostic
from dragoman.graph.collection import Collection, Context, Graph
from dragoman.ir import model as ir
from dragoman.refs import Ref
from dragoman.translators import base
from dragoman.translators.gateway import backends, clienttrust, status, tlspolicies
from dragoman.translators.gateway.models import meta
from dragoman.translators.gateway.policies import (
    attach,
    auth_basic,
    auth_clients,
    auth_external,
    auth_lookups,
    auth_oidc,
    auth_oidc_secrets,
    auth_routing,
    auth_sources,
    traffic_failures,
    traffic_tls,
)
from dragoman.translators.gateway.wiring_parents import Parents


class Ancestors:
    """Target of a policy -> the Gateways that serve it."""

    def __init__(
        self,
        graph: Graph,
        tls: tlspolicies.Policies,
        policies: attach.Policies,
        routes: Collection[Ref, ir.RouteSet],
        streams: Collection[tuple[Ref, str], ir.StreamRoute],
        barred: Collection[Ref, frozenset[Ref]],
        parents: Parents,
    ) -> None:
        self._parents = parents

        def reached(
            ctx: Context, key: object, item: ir.RouteSet | ir.StreamRoute
        ) -> Iterator[tuple[tuple[Ref, Ref, object], bool]]:
            kept_from: frozenset[Ref] = ctx.fetch(barred, item.ref) or frozenset()
            for target in {item.ref, *(cluster.ref for cluster in item.clusters()), *kept_from}:
                if ctx.fetch(policies.at, target) is None and ctx.fetch(tls.by_service, target) is None:
                    continue
                for one in item.attachments:
                    yield (target, self._gateway(ctx, one.parent), key), True

        self._users: Collection[Ref, frozenset[Ref]] = graph.group_by(
            "users of policies",
            graph.union(
                "routes to policies",
                graph.map_many("requests to policies", routes, reached),
                graph.map_many("streams to policies", streams, reached),
            ),
            lambda key, _: (key[0],),
            lambda _, __, found: frozenset(key[1] for key in found),
        )

    def of(self, ctx: Context, targets: Iterable[Ref]) -> list[Ref]:
        """The Gateways that serve any of `targets`, sorted."""
        found: set[Ref] = set()
        for target in targets:
            if target.kind in ("Gateway", "ListenerSet"):
                gateway = self._gateway(ctx, target)
                doors = ctx.fetch(self._parents.doors, gateway)
                found |= {gateway} if doors is not None and doors.ours else set()
            else:
                users = ctx.fetch(self._users, target)
                found |= users if users is not None else frozenset()
        return sorted(found)

    def _gateway(self, ctx: Context, parent: Ref) -> Ref:
        if parent.kind != "ListenerSet":
            return parent
        return ctx.fetch(self._parents.gateway_of, parent) or parent


def tls_statuses(
    graph: Graph, objects: base.Objects, policies: tlspolicies.Policies, ancestors: Ancestors, controller: str
) -> Collection[Ref, base.Status]:
    """BackendTLSPolicies' statuses."""

    def of(ctx: Context, ref: Ref, item: base.AnyObject) -> base.Status | None:
        verdict = ctx.fetch(policies.standings, ref)
        if verdict is None:
            return None
        targets = [one.service for one in tlspolicies.targets(ref, item.spec) if one is not None]
        return status.of_policy(item, controller, ancestors.of(ctx, targets), tlspolicies.conditions(verdict))

    return graph.map_one("BackendTLSPolicy status", objects[meta.GATEWAY_GROUP, "BackendTLSPolicy"], of)


def statuses(
    graph: Graph,
    objects: base.Objects,
    sources: backends.Sources,
    keys: auth_sources.AllKeys,
    ancestors: Ancestors,
    trust: Collection[Ref, clienttrust.Trust],
    controller: str,
) -> Collection[Ref, base.Status]:
    """The statuses of Dragoman's own policies. Those that refer to something say whether it can be used."""
    policies = sources.attached

    def of(ctx: Context, ref: Ref, item: base.AnyObject) -> base.Status | None:
        standing = ctx.fetch(policies.standings, ref)
        if standing is None:
            return None
        targets = [one.ref for one in standing.targets] or attach.named(ref, item.spec)
        found = ancestors.of(ctx, targets) or sorted(set(targets))
        refers = ctx.fetch(trust, ref)
        clients = () if refers is None else (refers.resolved,)
        conditions = (standing.accepted, *_resolved(_wrong(ctx, sources, keys, ref, item)), *clients)
        return status.of_policy(item, controller, found, conditions)

    return graph.union(
        "policy statuses",
        *(graph.map_one(f"{kind} status", objects[meta.DRAGOMAN_GROUP, kind], of) for kind in attach.KINDS),
    )


def findings(
    graph: Graph,
    objects: base.Objects,
    sources: backends.Sources,
    keys: auth_sources.AllKeys,
    lost: Collection[Ref, tuple[Diagnostic, ...]],
    parents: Parents,
) -> Collection[Ref, tuple[Diagnostic, ...]]:
    """What there is to say of each of them: its targets, its references, and what of it has no effect on some
    backend (`lost`) or listener."""

    def of(ctx: Context, ref: Ref, standing: attach.Standing) -> tuple[Diagnostic, ...] | None:
        item = ctx.fetch(objects[ref.group, ref.kind], ref) if ref.kind in _REFERRING else None
        wrong = _wrong(ctx, sources, keys, ref, item) if item is not None else None
        found = (*standing.findings, *(finding for _, finding in wrong or ()))
        trust = ctx.fetch(parents.trust, ref)
        found += trust.findings if trust is not None else ()
        more = (*(ctx.fetch(lost, ref) or ()), *(ctx.fetch(parents.client_findings, ref) or ()))
        return (*found, *more) or None

    return graph.map_one("policy findings", sources.attached.standings, of)


_REFERRING: Final = ("TrafficPolicy", "AuthPolicy")
"""Kinds whose references are followed here."""

_REASONS: Final = {
    "DRG1841": "InvalidLogin",
    "DRG1843": "",
    "DRG1851": "InvalidUsers",
    "DRG1852": "InvalidUsers",
    "DRG1861": "InvalidIntrospection",
}
"""Of the condition, where it is not keys that are wrong."""

Wrong = list[tuple[str, Diagnostic]]


def _wrong(
    ctx: Context, sources: backends.Sources, keys: auth_sources.AllKeys, ref: Ref, item: base.AnyObject
) -> Wrong | None:
    """What is wrong with what a policy refers to: (reason of the condition, "" for what a policy bars;
    finding). None: it refers to nothing."""
    match ref.kind:
        case "TrafficPolicy":
            if not traffic_failures.refers(item.spec) and not any(traffic_tls.needs(ref, item.spec)):
                return None
            astray = traffic_failures.unresolved(ctx, sources, ref, item.spec)
            wrong = [(astray.reason, astray.finding)] if astray is not None else []
            flaws = (ctx.fetch(sources.unsafe, ref) or {}).values()
            return [*wrong, *(("InvalidCertificateRef", one) for one in flaws)]
        case "AuthPolicy":
            if not (
                auth_sources.providers(item)
                or auth_clients.secrets(item)
                or auth_external.refers(item.spec)
                or auth_oidc_secrets.said(item)
                or auth_basic.said(item)
                or auth_lookups.refers(item.spec)
                or auth_routing.refers(item.spec)
            ):
                return None
            found = ctx.fetch(keys, ref)
            wrong = [("InvalidKeys", one) for one in (found.flaws if found is not None else ())]
            wrong += [
                (_REASONS.get(one.code, "InvalidKeys"), one)
                for one in (found.astray if found is not None else ())
            ]
            lost = (
                auth_external.unresolved(ctx, sources, ref, item.spec)
                if auth_external.refers(item.spec)
                else None
            )
            away = auth_oidc.unresolved(ctx, sources, ref, item)
            led = (
                auth_routing.unresolved(ctx, sources, ref, item.spec)
                if auth_routing.refers(item.spec)
                else ()
            )
            return [*wrong, *((one.reason, one.finding) for one in (lost, away, *led) if one is not None)]
        case _:
            return None


def _resolved(wrong: Wrong | None) -> Iterator[base.Condition]:
    """One condition for all references of a policy: the first reason, and what there is to say of each."""
    if wrong is None:
        return
    lost = [(reason, finding.message) for reason, finding in wrong if reason]
    if not lost:
        yield base.Condition("ResolvedRefs", True, "ResolvedRefs", "every reference leads somewhere")
        return
    why = "; ".join(dict.fromkeys(message for _, message in lost))
    yield base.Condition("ResolvedRefs", False, lost[0][0], why)
