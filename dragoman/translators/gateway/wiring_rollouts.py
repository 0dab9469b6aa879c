"""Rollouts by themselves: their plans, which the controller carries out, their statuses and findings. A part
of `wiring`.

What routes make of them is in `rollouts`, which has the last word on which rule a Rollout has.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Any, Final

from dragoman.diagnostics import Diagnostic, error
from dragoman.graph.collection import Collection, Context, Graph
from dragoman.ir import model as ir, rollouts as ir_rollouts
from dragoman.ir.rollouts import Phase
from dragoman.refs import Ref
from dragoman.translators import base
from dragoman.translators.gateway import backends, rollouts, status
from dragoman.translators.gateway.models import rollout as model
from dragoman.translators.gateway.wiring_routes import Findings

_REQUESTS: Final = 20
"""What `minRequests` is where it is left out: fewer say little."""


class Rollouts:
    """`plans`: what those do that are accepted."""

    def __init__(
        self,
        graph: Graph,
        objects: Collection[Ref, base.AnyObject],
        routes: Mapping[str, Collection[Ref, base.AnyObject]],
        sources: backends.Sources,
    ) -> None:
        self._routes = routes
        self._sources = sources
        judged: Collection[Ref, ir_rollouts.Plan | rollouts.Flaw] = graph.map_one(
            "Rollouts judged", objects, self._judge
        )
        self.plans: Collection[Ref, ir_rollouts.Plan] = graph.map_one(
            "rollout plans", judged, lambda _, __, found: None if isinstance(found, rollouts.Flaw) else found
        )
        self.findings: Collection[Ref, Findings] = graph.map_one(
            "Rollout findings",
            judged,
            lambda _, __, found: (found.finding,) if isinstance(found, rollouts.Flaw) else None,
        )

        def conditions(ctx: Context, ref: Ref, item: base.AnyObject) -> base.Status | None:
            found = ctx.fetch(judged, ref)
            if found is None:
                return None
            progress = ctx.fetch(sources.rollouts.progress, ref)
            return status.of_rollout(item, _conditions(found, progress), _more(found, progress))

        self.statuses = graph.map_one("Rollout status", objects, conditions)

    def _judge(self, ctx: Context, ref: Ref, item: rollouts.Item) -> ir_rollouts.Plan | rollouts.Flaw:
        target = rollouts.target(item)
        routes = self._routes.get(target.kind)
        route = ctx.fetch(routes, target) if routes is not None else None
        if route is None:
            where = item.origin("spec", "targetRef", "name")
            return rollouts.Flaw("TargetNotFound", error("DRG1701", f"there is no {target}", where))
        found = rollouts.judge(item, route.spec.rules)
        if isinstance(found, rollouts.Flaw):
            return found
        for other in ctx.fetch(self._sources.rollouts.of_routes, target) or ():
            if other.ref == ref:
                break
            rival = rollouts.judge(other, route.spec.rules)
            if isinstance(rival, rollouts.Target) and rival.rule == found.rule:
                return rollouts.Flaw("Conflicted", _beaten(item, other))
        return self._plan(ctx, item, route, found)

    def _plan(
        self, ctx: Context, item: rollouts.Item, route: base.AnyObject, found: rollouts.Target
    ) -> ir_rollouts.Plan:
        spec = item.spec
        rules = route.spec.rules
        resolved: list[ir.ClusterKey | None] = []
        waiting = ""
        grpc = route.ref.kind == "GRPCRoute"
        transport = ir.Transport.GRPC if grpc else ir.Transport.APPLICATION
        for field, at in (("stable", found.stable), ("canary", found.canary)):
            wanted = rules[found.rule].backend_refs[at]
            where = item.origin("spec", field)
            cluster = backends.resolve(ctx, self._sources, route.ref, wanted, where, transport)
            if isinstance(cluster, backends.Unresolved):
                waiting = waiting or cluster.finding.message
                resolved.append(None)
            else:
                resolved.append(cluster)
        return ir_rollouts.Plan(
            item.ref,
            rollouts.digest(item),
            resolved[1],
            tuple(ir_rollouts.Step(step.weight, step.pause, step.approval) for step in spec.steps),
            tuple(_checks(spec)),
            ir_rollouts.OnFailure(spec.on_failure),
            rollouts.is_idle(rules, found),
            waiting,
            item.origin("spec"),
        )


def _beaten(item: rollouts.Item, other: rollouts.Item) -> Diagnostic:
    return error(
        "DRG1704",
        f"{other.ref} is older and has the rule",
        item.origin("spec", "targetRef"),
        label="this one does nothing",
    )


def _checks(spec: model.Rollout) -> Iterator[ir_rollouts.Check]:
    for at, one in enumerate(spec.checks):
        query = one.prometheus
        yield ir_rollouts.Check(
            one.name or f"check-{at}",
            one.interval,
            one.failure_limit,
            _REQUESTS if one.min_requests is None else one.min_requests,
            one.success_rate.min if one.success_rate is not None else None,
            one.latency.percentile if one.latency is not None else 99.0,
            one.latency.max if one.latency is not None else None,
            ir_rollouts.Query(query.address.rstrip("/"), query.query, query.min, query.max)
            if query is not None
            else None,
        )


def _conditions(
    found: ir_rollouts.Plan | rollouts.Flaw, progress: ir_rollouts.Progress | None
) -> tuple[base.Condition, ...]:
    """`Accepted`, and what it is at."""
    if isinstance(found, rollouts.Flaw):
        return (base.Condition("Accepted", False, found.reason, found.finding.message),)
    accepted = base.Condition("Accepted", True, "Accepted", "the rule's weights are set")
    if found.idle:
        accepted = base.Condition("Accepted", True, "Idle", "the rule itself gives everything to the canary")
        return (accepted,)
    if progress is None or progress.digest != found.digest:
        message = found.waiting or "no control plane has begun it"
        return (accepted, base.Condition("Progressing", not found.waiting, "NotBegun", message))
    return (accepted, base.Condition(progress.phase.value, True, progress.reason, progress.message))


def _more(found: ir_rollouts.Plan | rollouts.Flaw, progress: ir_rollouts.Progress | None) -> dict[str, Any]:
    """The fields of the status beside its conditions."""
    if isinstance(found, rollouts.Flaw):
        return {}
    if found.idle:
        return {"canaryWeight": 100}
    if progress is None or progress.digest != found.digest:
        return {"canaryWeight": 0, "steps": len(found.steps)}
    body: dict[str, Any] = {
        "phase": progress.phase.value,
        "canaryWeight": progress.weight,
        "steps": len(found.steps),
    }
    if progress.phase in (Phase.PROGRESSING, Phase.HELD):
        step = found.steps[progress.step]
        body["step"] = progress.step + 1
        body["stepSince"] = _time(progress.since)
        if step.pause:
            body["stepDue"] = _time(progress.since + step.pause)
        body["approvalNeeded"] = progress.phase is Phase.HELD or (step.approval and not progress.approved)
    body["checks"] = [
        {
            "name": check.name,
            "verdict": {True: "Good", False: "Bad", None: "None"}[verdict.good],
            "value": verdict.value,
            **({"time": _time(verdict.time)} if verdict.time else {}),
            "failures": verdict.failures,
        }
        for check, verdict in zip(found.checks, progress.verdicts, strict=False)
    ]
    return body


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
