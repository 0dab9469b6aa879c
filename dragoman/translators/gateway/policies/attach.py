"""Which policy is in force at which target, and what becomes of each policy (GEP-713).

Of several policies of one kind for one target the oldest is in force, the others are told so. Targets are
found by name (`targetRefs`) and by label (`targetSelectors`): an object's labels are held against the
selectors of its kind and namespace when they change, so that a route added among thousands costs itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from dragoman.diagnostics import Diagnostic, error, warning
from dragoman.graph.collection import Collection, Context, Graph
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import attachment, complaints
from dragoman.translators.gateway.models import meta, policy
from dragoman.translators.gateway.policies import merge

_ROUTES: Final = ("HTTPRoute", "GRPCRoute")
_GATEWAYS: Final = ("Gateway", "ListenerSet")
_BACKENDS: Final = ("Service", "Backend")

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "TrafficPolicy": (*_GATEWAYS, *_ROUTES, *_BACKENDS),
    "AuthPolicy": (*_GATEWAYS, *_ROUTES),
    "HTTPPolicy": (*_GATEWAYS, *_ROUTES),
    "ClientPolicy": _GATEWAYS,
    "RateLimitPolicy": (*_GATEWAYS, *_ROUTES),
}
"""Each kind of policy, and the kinds that it may target."""

_OF_REQUESTS: Final = ("AuthPolicy", "HTTPPolicy", "RateLimitPolicy")
"""Kinds that mean nothing where there are no requests."""
_WITH_REQUESTS: Final = ("HTTP", "HTTPS")
"""Protocols of listeners that have some."""

GROUPS: Final[Mapping[str, str]] = {
    **dict.fromkeys((*_ROUTES, *_GATEWAYS), meta.GATEWAY_GROUP),
    "Service": meta.CORE_GROUP,
    "Backend": meta.DRAGOMAN_GROUP,
}
PARTS: Final[Mapping[str, str]] = {
    **dict.fromkeys(_GATEWAYS, "listener"),
    **dict.fromkeys(_ROUTES, "rule"),
    "Service": "port",
}
"""What a sectionName names."""


class Target(NamedTuple):
    """An object, or a part of it."""

    ref: Ref
    section: str = ""


AnyLayer = merge.Layer[Any]
Attached = Mapping[str, Mapping[str, AnyLayer]]
"""Section ("": the whole object) -> kind of policy -> the policy in force."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What one policy comes to. `targets`: the objects where it is in force, or would be."""

    accepted: base.Condition
    targets: tuple[Target, ...]
    findings: tuple[Diagnostic, ...]


@dataclass(frozen=True, slots=True)
class Policies:
    """`layers`: every policy; `at`: what is in force at an object; `standings`: what becomes of each
    policy."""

    layers: Collection[Ref, AnyLayer]
    at: Collection[Ref, Attached]
    standings: Collection[Ref, Standing]


class _Bid(NamedTuple):
    """Sorts by precedence."""

    created: str
    ref: Ref


class _Selector(NamedTuple):
    bid: _Bid
    selector: policy.TargetSelector


def build(graph: Graph, objects: base.Objects) -> Policies:
    """The collections of all kinds of policies."""
    every: Collection[Ref, base.AnyObject] = graph.union(
        "policies", *(objects[meta.DRAGOMAN_GROUP, kind] for kind in KINDS)
    )
    layers: Collection[Ref, AnyLayer] = graph.map_one(
        "policy layers", every, lambda _, ref, item: merge.Layer(ref, item.spec)
    )
    named = graph.map_many("policy targets", every, _named)
    selectors: Collection[tuple[str, str], tuple[_Selector, ...]] = graph.group_by(
        "policy selectors",
        graph.map_many("policies with selectors", every, _selectors),
        lambda _, one: ((one.selector.kind, one.bid.ref.namespace),),
        lambda _, __, found: tuple(sorted(found.values(), key=lambda one: one.bid)),
    )
    labelled: Collection[Ref, tuple[tuple[str, str], ...]] = graph.union(
        "labelled targets",
        *(
            graph.map_one(
                f"{kind} labels", objects[group, kind], lambda _, __, item: item.meta.labels or None
            )
            for kind, group in GROUPS.items()
        ),
    )

    def selected(
        ctx: Context, ref: Ref, labels: tuple[tuple[str, str], ...]
    ) -> Iterator[tuple[tuple[_Bid, Target], bool]]:
        known = dict(labels)
        for one in ctx.fetch(selectors, (ref.kind, ref.namespace)) or ():
            if attachment.selects(one.selector, known):
                yield (one.bid, Target(ref)), True

    chosen = graph.map_many("targets selected", labelled, selected)
    winners: Collection[tuple[str, Target], Ref] = graph.group_by(
        "policies in force",
        graph.union("policy bids", named, chosen),
        lambda key, _: ((key[0].ref.kind, key[1]),),
        lambda _, __, found: min(found)[0].ref,
    )

    def in_force(ctx: Context, _: Ref, found: Mapping[tuple[str, Target], Ref]) -> Attached:
        made: dict[str, dict[str, AnyLayer]] = {}
        for (kind, target), ref in found.items():
            layer = ctx.fetch(layers, ref)
            if layer is not None:
                made.setdefault(target.section, {})[kind] = layer
        return made

    at = graph.group_by("policies at targets", winners, lambda key, _: (key[1].ref,), in_force)
    picked: Collection[Ref, tuple[Target, ...]] = graph.group_by(
        "targets of selectors",
        chosen,
        lambda key, _: (key[0].ref,),
        lambda _, __, found: tuple(sorted(key[1] for key in found)),
    )

    def standing(ctx: Context, ref: Ref, item: base.Object[policy.Policy]) -> Standing:
        missing: list[Diagnostic] = []
        lost: list[Diagnostic] = []
        wanted: list[tuple[Target, Origin]] = []
        for at, one in enumerate(item.spec.target_refs):
            origin = Origin(ref, ("spec", "targetRefs", at))
            target = _target(ref, one)
            found = ctx.fetch(objects[target.ref.group, target.ref.kind], target.ref)
            absence = _absence(target, found, origin)
            if absence is not None:
                missing.append(absence)
            else:
                wanted.append((target, origin))
        origin = Origin(ref, ("spec", "targetSelectors"))
        wanted += [(target, origin) for target in ctx.fetch(picked, ref) or ()]
        for target, where in wanted:
            winner = ctx.fetch(winners, (ref.kind, target))
            if winner not in (None, ref):
                lost.append(_conflict(target, winner, where))
        idle = [] if wanted or missing else [warning("DRG1601", "the selectors select nothing", origin)]
        findings = (*missing, *lost, *idle)
        return Standing(_accepted(wanted, missing, lost), tuple(t for t, _ in wanted), findings)

    return Policies(layers, at, graph.map_one("policy standings", every, standing))


def named(ref: Ref, spec: policy.Policy) -> list[Ref]:
    """The objects that a policy targets by name."""
    return [_target(ref, one).ref for one in spec.target_refs]


def _named(_: Context, ref: Ref, item: base.AnyObject) -> Iterator[tuple[tuple[_Bid, Target], bool]]:
    bid = _Bid(item.meta.created or "~", ref)
    for one in item.spec.target_refs:
        yield (bid, _target(ref, one)), True


def _selectors(_: Context, ref: Ref, item: base.AnyObject) -> Iterator[tuple[tuple[Ref, int], _Selector]]:
    bid = _Bid(item.meta.created or "~", ref)
    for at, one in enumerate(item.spec.target_selectors):
        yield (ref, at), _Selector(bid, one)


def _target(ref: Ref, one: policy.TargetRef) -> Target:
    return Target(Ref(GROUPS[one.kind], one.kind, ref.namespace, one.name), one.section_name or "")


def _absence(target: Target, found: base.AnyObject | None, origin: Origin) -> Diagnostic | None:
    """Why a target is not there."""
    if found is None:
        message = f"{target.ref} is not there"
        return error("DRG1601", message, origin.at("name"), label="the policy targets nothing here")
    known = _sections(target.ref.kind, found.spec)
    if not target.section or target.section in known:
        return _mute(target, found, origin)
    part = PARTS[target.ref.kind]
    return error(
        "DRG1601",
        f"{target.ref} has no {part} `{target.section}`",
        origin.at("sectionName"),
        label=f"{part}s with names: {', '.join(known) or 'none'}",
        help=complaints.near(target.section, known),
    )


def _mute(target: Target, found: base.AnyObject, origin: Origin) -> Diagnostic | None:
    """Why the policy holds for nothing at a listener that is there: it has connections alone."""
    if not target.section or origin.ref.kind not in _OF_REQUESTS or target.ref.kind not in _GATEWAYS:
        return None
    protocol = next(one.protocol for one in found.spec.listeners if one.name == target.section)
    if protocol in _WITH_REQUESTS:
        return None
    return error(
        "DRG1601",
        f"listener `{target.section}` of {target.ref} has no requests, its protocol is {protocol}",
        origin.at("sectionName"),
        label="connections pass: the policy holds for requests alone",
    )


def _sections(kind: str, spec: Any) -> list[str]:
    match PARTS.get(kind):
        case "listener":
            return [one.name for one in spec.listeners]
        case "rule":
            return [one.name for one in spec.rules if one.name]
        case "port":
            return [one.name for one in spec.spec.ports if one.name]
        case _:
            return []


def _conflict(target: Target, winner: Ref | None, origin: Origin) -> Diagnostic:
    section = f"{PARTS.get(target.ref.kind, 'section')} `{target.section}` of " if target.section else ""
    message = f"{section}{target.ref} has an older policy already: {winner}"
    return warning("DRG1210", message, origin, label="not in force here")


def _accepted(
    wanted: list[tuple[Target, Origin]], missing: list[Diagnostic], lost: list[Diagnostic]
) -> base.Condition:
    """A policy in force nowhere is not accepted."""
    if wanted and len(lost) == len(wanted):
        return base.Condition("Accepted", False, "Conflicted", "; ".join(one.message for one in lost))
    if not wanted:
        why = "; ".join(one.message for one in missing) or "the selectors select nothing"
        return base.Condition("Accepted", False, "TargetNotFound", why)
    trouble = "; ".join(one.message for one in (*missing, *lost))
    said = f"the policy is in force, but for this: {trouble}" if trouble else "the policy is in force"
    return base.Condition("Accepted", True, "Accepted", said)
