"""HTTPRoutes and GRPCRoutes that want the same host name of one listener: the older one gets it (GRPCRoute,
`hostnames`).

GRPCRoutes lay claims to their listeners' host names. An HTTPRoute looks at those of its own listeners, and
counts as another only where it meets one of them; so HTTPRoutes need no index, however many. The claims to a
listener are gone through by age (`_lost`): who has lost there is in nobody else's way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from dragoman.diagnostics import Diagnostic, error
from dragoman.graph.collection import Collection, Context, Graph
from dragoman.ir import hosts
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import attachment

Listener = tuple[Ref, str]
"""Parent and listener's name."""
_KINDS: Final = ("HTTPRoute", "GRPCRoute")
"""Who comes first at the same age."""


class Claim(NamedTuple):
    """What a route wants of a listener."""

    age: tuple[str, str]
    ref: Ref
    hostnames: tuple[str, ...]


Claims = Collection[Listener, tuple[Claim, ...]]
Alone = Callable[[Context, Ref, base.AnyObject], attachment.Attached]
"""Where a route would stand if there were no others."""
Standing = tuple[Collection[Ref, attachment.Attached], Collection[Ref, attachment.Attached]]


def settle(
    graph: Graph, http: Collection[Ref, base.AnyObject], grpc: Collection[Ref, base.AnyObject], alone: Alone
) -> Standing:
    """Where HTTPRoutes and GRPCRoutes stand: each by itself, then beside the others."""
    grpc_alone = graph.map_one("GRPCRoute attached alone", grpc, alone)
    claims = _claims(graph, grpc, grpc_alone)
    http_alone = graph.map_one(
        "HTTPRoute attached alone",
        http,
        lambda ctx, ref, item: _meeting(ctx, claims, item, alone(ctx, ref, item)),
    )
    contests: Collection[Listener, Mapping[Ref, Ref]] = graph.group_by(
        "contested listeners",
        http_alone,
        lambda _, found: found.met,
        lambda ctx, listener, found: _lost(ctx.fetch(claims, listener) or (), listener, found) or None,
    )
    losses: Collection[tuple[Listener, Ref], Ref] = graph.map_many(
        "lost listeners",
        contests,
        lambda _, listener, lost: [((listener, loser), winner) for loser, winner in lost.items()],
    )

    def http_beside(ctx: Context, ref: Ref, found: attachment.Attached) -> attachment.Attached:
        return _beside(ctx, losses, ref, found, found.met)

    def grpc_beside(ctx: Context, ref: Ref, found: attachment.Attached) -> attachment.Attached:
        return _beside(ctx, losses, ref, found, [one.place for one in found.attachments])

    return (
        graph.map_one("HTTPRoute attached", http_alone, http_beside),
        graph.map_one("GRPCRoute attached", grpc_alone, grpc_beside),
    )


def _claims(
    graph: Graph, objects: Collection[Ref, base.AnyObject], attached: Collection[Ref, attachment.Attached]
) -> Claims:
    """What GRPCRoutes want."""

    def of_route(
        ctx: Context, ref: Ref, item: base.AnyObject
    ) -> Iterator[tuple[tuple[Listener, Ref], Claim]]:
        found = ctx.fetch(attached, ref)
        for one in found.attachments if found is not None else ():
            yield (one.place, ref), Claim(_age(item), ref, one.hostnames)

    return graph.group_by(
        "GRPCRoute claims of listeners",
        graph.map_many("GRPCRoute claims", objects, of_route),
        lambda key, _: (key[0],),
        lambda _, __, found: tuple(sorted(found.values())),
    )


def _age(item: base.AnyObject) -> tuple[str, str]:
    """Sorts the oldest first."""
    return (item.meta.created or "~", item.ref.id)


def _meeting(
    ctx: Context, claims: Claims, item: base.AnyObject, found: attachment.Attached
) -> attachment.Attached:
    """An HTTPRoute's attachments, and where GRPCRoutes want the same."""
    met = tuple(
        one.place
        for one in found.attachments
        if any(_meet(one.hostnames, claim.hostnames) for claim in ctx.fetch(claims, one.place) or ())
    )
    return replace(found, met=met, age=_age(item)) if met else found


def _lost(
    claims: tuple[Claim, ...], listener: Listener, found: Mapping[Ref, attachment.Attached]
) -> dict[Ref, Ref]:
    """Who loses a listener, to whom."""
    wanted = [*claims]
    for ref, route in found.items():
        wanted += (Claim(route.age, ref, one.hostnames) for one in route.attachments if one.place == listener)
    kept: dict[str, list[Claim]] = {kind: [] for kind in _KINDS}
    lost: dict[Ref, Ref] = {}
    for one in sorted(wanted, key=lambda claim: (claim.age, _KINDS.index(claim.ref.kind))):
        others = (claim for kind, held in kept.items() if kind != one.ref.kind for claim in held)
        winner = next((claim for claim in others if _meet(one.hostnames, claim.hostnames)), None)
        if winner is None:
            kept[one.ref.kind].append(one)
        else:
            lost[one.ref] = winner.ref
    return lost


def _beside(
    ctx: Context,
    losses: Collection[tuple[Listener, Ref], Ref],
    ref: Ref,
    found: attachment.Attached,
    listeners: Iterable[Listener],
) -> attachment.Attached:
    told = {listener: ctx.fetch(losses, (listener, ref)) for listener in listeners}
    lost = {listener: winner for listener, winner in told.items() if winner is not None}
    return _without(ref, found, lost)


def _without(ref: Ref, attached: attachment.Attached, lost: Mapping[Listener, Ref]) -> attachment.Attached:
    """Attachments but for those on listeners that another route has. A parent that has none left does not
    accept the route."""
    if not lost:
        return attached
    parents: list[attachment.Parent] = []
    findings: list[Diagnostic] = []
    for parent in attached.parents:
        taken = [listener for listener in parent.listeners if listener in lost]
        if not taken or len(taken) < len(parent.listeners):
            parents.append(parent)
            continue
        winner = lost[taken[0]]
        message = f"{winner} comes first and has these host names on listener {taken[0][1]}"
        origin = Origin(ref, ("spec", "hostnames"))
        hint = "HTTPRoutes and GRPCRoutes cannot share a host name on one listener"
        findings.append(error("DRG1308", message, origin, help=hint))
        condition = base.Condition("Accepted", False, "Conflicted", message)
        parents.append(replace(parent, accepted=condition))
    left = tuple(one for one in attached.attachments if one.place not in lost)
    return replace(
        attached, attachments=left, parents=tuple(parents), findings=(*attached.findings, *findings)
    )


def _meet(some: tuple[str, ...], others: tuple[str, ...]) -> bool:
    return any(hosts.intersect(one, other) is not None for one in some for other in others)
