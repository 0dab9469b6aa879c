"""Rollouts as routes see them: which one a rule has, and the weights that it sets.

`Choices` finds the Rollout of a rule; `routes_http.Work` asks for it, gives the rule its weights (`weighed`)
and puts the testers' routes before its own (`testers`). Several Rollouts for a rule: the oldest has it.
`wiring_rollouts` makes plans and statuses with the same `judge`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from dragoman.diagnostics import Diagnostic, error
from dragoman.graph.collection import Collection, Context, Graph, Source
from dragoman.ir import model as ir, rollouts as ir_rollouts
from dragoman.refs import Origin, Ref
from dragoman.translators import base
from dragoman.translators.gateway import matching, rules_rollout
from dragoman.translators.gateway.models import grpcroute, httproute, meta, rollout as model

RESTART: Final = "dragoman.dev/rollout-restart"
"""An annotation of a Rollout: another value begins it anew."""
_HEAVIEST: Final = 1_000_000

Item = base.Object[model.Rollout]
Rules = Sequence[httproute.Rule] | Sequence[grpcroute.Rule]


@dataclass(frozen=True, slots=True)
class Choices:
    """`of_routes`: a route's Rollouts, the oldest first. `progress` is filled from outside."""

    of_routes: Collection[Ref, tuple[Item, ...]]
    progress: Source[Ref, ir_rollouts.Progress]
    shares: Collection[Ref, ir_rollouts.Share]


@dataclass(frozen=True, slots=True)
class Target:
    """A rule and the two of its backends that a Rollout speaks of, all by position."""

    rule: int
    stable: int
    canary: int


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why a Rollout does nothing: the reason of its condition `Accepted`, and the finding."""

    reason: str
    finding: Diagnostic


@dataclass(frozen=True, slots=True)
class Chosen:
    """The Rollout of one rule, and what the canary gets. `idle`: the rule itself gives it everything."""

    item: Item
    target: Target
    share: ir_rollouts.Share
    idle: bool

    @property
    def reports(self) -> str:
        """Namespace and name of the Rollout where it judges by what Envoy reports; "" while nobody asks."""
        asks = any(check.prometheus is None for check in self.item.spec.checks)
        return self.item.ref.id if asks and self.share.active and not self.idle else ""

    def origin(self, backend: int) -> Origin | None:
        """Who set the weight of this backend, if not the route."""
        if self.idle or backend not in (self.target.stable, self.target.canary):
            return None
        return self.item.origin("spec", "canary" if backend == self.target.canary else "stable")


def build(graph: Graph, objects: Collection[Ref, base.AnyObject]) -> Choices:
    """The collections that routes look at."""
    progress: Source[Ref, ir_rollouts.Progress] = graph.source("rollout progress")
    of_routes: Collection[Ref, tuple[Item, ...]] = graph.group_by(
        "rollouts of routes",
        objects,
        lambda _, item: (target(item),),
        lambda _, __, found: tuple(sorted(found.values(), key=_age)),
    )
    shares = graph.map_one("rollout shares", progress, lambda _, __, found: ir_rollouts.share(found))
    return Choices(of_routes, progress, shares)


def target(item: Item) -> Ref:
    """The route that a Rollout speaks of."""
    wanted = item.spec.target_ref
    return Ref(wanted.group, wanted.kind, item.ref.namespace, wanted.name)


def _age(item: Item) -> tuple[str, str]:
    return (item.meta.created or "~", item.ref.id)


def of_rule(ctx: Context, choices: Choices, route: Ref, rules: Rules, index: int) -> Chosen | None:
    """The Rollout that has the rule number `index` of `route`."""
    for item in ctx.fetch(choices.of_routes, route) or ():
        found = judge(item, rules)
        if isinstance(found, Target) and found.rule == index:
            share = ctx.fetch(choices.shares, item.ref)
            if share is None or share.digest != digest(item):
                share = ir_rollouts.NOT_BEGUN
            return Chosen(item, found, share, is_idle(rules, found))
    return None


def digest(item: Item) -> str:
    """What makes it this rollout and no other: the rule, the two backends, the steps, and the annotation."""
    spec = item.spec
    return ir_rollouts.digest(
        target(item),
        spec.target_ref.section_name,
        *(_identity(one, item.ref) for one in (spec.stable, spec.canary)),
        tuple((step.weight, step.pause, step.approval) for step in spec.steps),
        item.meta.annotation(RESTART),
    )


def is_idle(rules: Rules, found: Target) -> bool:
    refs = rules[found.rule].backend_refs
    return refs[found.stable].weight == 0 and refs[found.canary].weight > 0


def judge(item: Item, rules: Rules) -> Target | Flaw:
    """Where in the route's rules a Rollout belongs."""
    index = _rule(item, rules)
    if isinstance(index, Flaw):
        return index
    refs = rules[index].backend_refs
    places: list[int] = []
    for field in ("stable", "canary"):
        wanted: meta.BackendObjectReference = getattr(item.spec, field)
        found = [at for at, one in enumerate(refs) if _same(wanted, one, item.ref)]
        if len(found) != 1:
            where = item.origin("spec", field)
            how = "none" if not found else "several"
            listed = ", ".join(dict.fromkeys(one.name for one in refs)) or "nothing"
            return Flaw(
                "BackendNotInRule",
                error(
                    "DRG1703",
                    f"{how} of the rule's backends is {wanted.kind} {wanted.name}"
                    if not found
                    else f"{how} of the rule's backends are {wanted.kind} {wanted.name}",
                    where,
                    label=f"the rule forwards to {listed}",
                    help="list both backends in the rule, the canary with weight 0",
                ),
            )
        places.append(found[0])
    return Target(index, *places)


def _rule(item: Item, rules: Rules) -> int | Flaw:
    wanted = item.spec.target_ref
    names = [rule.name for rule in rules if rule.name]
    if wanted.section_name is None:
        if len(rules) == 1:
            return 0
        return Flaw(
            "NoSuchRule",
            error(
                "DRG1702",
                f"{wanted.kind} {wanted.name} has {len(rules)} rules, and nothing says which is meant",
                item.origin("spec", "targetRef"),
                label="`sectionName` goes here",
                help=f"the rules' names are {', '.join(names)}" if names else "give the rule a `name`",
            ),
        )
    named = [rule.name for rule in rules]
    if wanted.section_name in named:
        return named.index(wanted.section_name)
    return Flaw(
        "NoSuchRule",
        error(
            "DRG1702",
            f"{wanted.kind} {wanted.name} has no rule named `{wanted.section_name}`",
            item.origin("spec", "targetRef", "sectionName"),
            label=f"its rules are named {', '.join(names)}" if names else "its rules have no names",
        ),
    )


def _same(wanted: meta.BackendObjectReference, one: meta.BackendObjectReference, ref: Ref) -> bool:
    """Whether both mean the same; a Backend's port says nothing."""
    return _identity(wanted, ref) == _identity(one, ref)


def _identity(one: meta.BackendObjectReference, ref: Ref) -> tuple[str, str, str, str, int]:
    port = 0 if one.kind == "Backend" else one.port or 0
    return (one.group, one.kind, one.namespace or ref.namespace, one.name, port)


# --- what becomes of the rule -----------------------------------------------------------------------------


def weighed(rule: httproute.Rule, chosen: Chosen) -> httproute.Rule:
    """The rule with the weights that its Rollout sets. What the two backends have together stays the same
    beside the rule's others."""
    if chosen.idle:
        return rule
    weights = _weights([one.weight for one in rule.backend_refs], chosen.target, chosen.share.weight)
    refs = tuple(replace(one, weight=weight) for one, weight in zip(rule.backend_refs, weights, strict=True))
    return replace(rule, backend_refs=refs)


def _weights(given: list[int], target: Target, percent: int) -> list[int]:
    pair = (target.stable, target.canary)
    others = sum(weight for at, weight in enumerate(given) if at not in pair)
    together = given[target.stable] + given[target.canary]
    if not others:
        # Alone they share everything, whatever the route says.
        together = 1
    exact = [100 * weight for weight in given]
    exact[target.canary] = together * percent
    exact[target.stable] = together * (100 - percent)
    common = math.gcd(*exact) or 1
    found = [weight // common for weight in exact]
    heaviest = max(found)
    if heaviest <= _HEAVIEST:
        return found
    return [weight and max(1, round(weight * _HEAVIEST / heaviest)) for weight in found]


def alone(ref: httproute.HttpBackendRef) -> httproute.HttpBackendRef:
    """The backend as one that gets everything."""
    return replace(ref, weight=1)


def testers(match: ir.RouteMatch, chosen: Chosen) -> Iterator[ir.RouteMatch]:
    """The matches of those who get the canary whatever its weight."""
    if chosen.idle or not chosen.share.active:
        return
    for tester in chosen.item.spec.testers:
        headers = matching.headers(tester.headers, chosen.item.origin())
        if isinstance(headers, Diagnostic):
            continue  # `rules_rollout` has refused it
        cookies = tuple(
            ir.HeaderMatch("cookie", ir.Regex(rules_rollout.cookie_pattern(cookie)))
            for cookie in tester.cookies
        )
        yield replace(match, headers=(*match.headers, *headers, *cookies))
