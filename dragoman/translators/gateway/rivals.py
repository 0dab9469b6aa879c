"""HTTPRoutes and GRPCRoutes that want the same host name of one listener: the older one gets it (GRPCRoute,
"Conflicts").

GRPCRoutes lay claims to their listeners' host names. An HTTPRoute looks at those of its own listeners, which
tells it whom it loses to, and whom it beats (`Attached.beaten`); so HTTPRoutes need no index, however many.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from dragoman.diagnostics import Diagnostic, error
from dragoman.graph.collection import Collection, Context, Graph
from dragoman.ir import hosts
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import attachment

Listener = tuple[Ref, str]
"""Parent and listener's name."""


class Claim(NamedTuple):
    """A GRPCRoute's. Sorts by precedence."""

    age: tuple[str, str]
    ref: Ref
    hostnames: tuple[str, ...]


Claims = Collection[Listener, tuple[Claim, ...]]
Winners = Collection[Ref, Mapping[Listener, Ref]]
"""GRPCRoute -> listener -> the HTTPRoute that beats it there."""


def age(item: base.AnyObject) -> tuple[str, str]:
    """Sorts the oldest first."""
    return (item.meta.created or "~", item.ref.id)


def claims(
    graph: Graph, objects: Collection[Ref, base.AnyObject], attached: Collection[Ref, attachment.Attached]
) -> Claims:
    """What GRPCRoutes want."""

    def of_route(
        ctx: Context, ref: Ref, item: base.AnyObject
    ) -> Iterator[tuple[tuple[Listener, Ref], Claim]]:
        found = ctx.fetch(attached, ref)
        for one in found.attachments if found is not None else ():
            yield ((one.parent, one.listener), ref), Claim(age(item), ref, one.hostnames)

    return graph.group_by(
        "GRPCRoute claims of listeners",
        graph.map_many("GRPCRoute claims", objects, of_route),
        lambda key, _: (key[0],),
        lambda _, __, found: tuple(sorted(found.values())),
    )


def contest(
    ctx: Context, wanted: Claims, item: base.AnyObject, attached: attachment.Attached
) -> attachment.Attached:
    """An HTTPRoute's attachments after it has met the GRPCRoutes on its listeners."""
    lost: dict[Listener, Ref] = {}
    beaten: list[tuple[Ref, Listener]] = []
    for one in attached.attachments:
        here = (one.parent, one.listener)
        for claim in ctx.fetch(wanted, here) or ():
            if not _meet(one.hostnames, claim.hostnames):
                continue
            if claim.age < age(item):
                lost[here] = claim.ref
                break
            beaten.append((claim.ref, here))
    if not lost and not beaten:
        return attached
    kept = tuple(each for each in beaten if each[1] not in lost)
    return replace(without(item.ref, attached, lost), beaten=kept)


def winners(graph: Graph, attached: Collection[Ref, attachment.Attached]) -> Winners:
    """Whom GRPCRoutes lose to, from the HTTPRoutes' attachments."""

    def first(_: Context, grpc: Ref, found: Mapping[Ref, attachment.Attached]) -> dict[Listener, Ref]:
        made: dict[Listener, Ref] = {}
        for ref in sorted(found):
            for beaten, listener in found[ref].beaten:
                if beaten == grpc:
                    made.setdefault(listener, ref)
        return made

    return graph.group_by("beaten GRPCRoutes", attached, lambda _, one: {ref for ref, _ in one.beaten}, first)


def without(ref: Ref, attached: attachment.Attached, lost: Mapping[Listener, Ref]) -> attachment.Attached:
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
    left = tuple(one for one in attached.attachments if (one.parent, one.listener) not in lost)
    return replace(
        attached, attachments=left, parents=tuple(parents), findings=(*attached.findings, *findings)
    )


def _meet(some: tuple[str, ...], others: tuple[str, ...]) -> bool:
    return any(hosts.intersect(one, other) is not None for one in some for other in others)
