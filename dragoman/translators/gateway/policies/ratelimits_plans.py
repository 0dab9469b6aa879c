"""Plans of a limit: other numbers for Consumers with a plan. Called by `ratelimits`."""

from __future__ import annotations

from collections.abc import Iterator

from dragoman.diagnostics import Diagnostic, error
from dragoman.ir import ratelimit
from dragoman.translators.gateway.models import ratelimitpolicy as model
from dragoman.translators.gateway.policies import merge

Merged = merge.Merged[model.RateLimitPolicy]

_BURSTS = ("TokenBucket", "LeakyBucket")


def of(limit: model.Limit) -> tuple[ratelimit.Plan, ...]:
    """The plans of a limit without flaws."""
    assert limit.per is not None
    return tuple(
        ratelimit.Plan(
            name, None if plan.unlimited else plan.requests, plan.per or limit.per, plan.burst or 0
        )
        for name, plan in _said(limit)
    )


def flaws(merged: Merged, name: str, limit: model.Limit) -> Iterator[Diagnostic]:
    """What is wrong with the plans of a limit; its own numbers are there."""
    algorithm = limit.algorithm.type if limit.algorithm is not None else "FixedWindow"
    bursts = algorithm in _BURSTS or limit.where in ("Local", "Quota")
    for plan_name, plan in _said(limit):
        where = merged.origin("limits", name, "plans", plan_name) or merged.origin("limits", name)
        assert where is not None
        if plan.unlimited:
            for field in ("requests", "per", "burst"):
                if getattr(plan, field) is not None:
                    message = f"the plan `{plan_name}` of the limit `{name}` is unlimited and has `{field}`"
                    yield error("DRG1951", message, where, label="the limit is left out")
        elif plan.requests is None:
            message = f"the plan `{plan_name}` of the limit `{name}` has no `requests`"
            yield error("DRG1951", message, where, help="say `requests`, or `unlimited: true`")
        elif plan.burst is not None and not bursts:
            message = f"`burst` is for {' and '.join(_BURSTS)}, not for {algorithm}"
            yield error("DRG1108", message, where)


def largest(limit: model.Limit) -> int:
    """The most requests that anybody has."""
    assert limit.requests is not None
    return max(limit.requests, *(plan.requests or 0 for _, plan in _said(limit)), 0)


def longest(limit: model.Limit) -> float:
    """Seconds that a request may wait for its turn at a leaky bucket."""
    assert limit.requests is not None
    assert limit.per is not None
    own = limit.algorithm.burst or 0 if limit.algorithm is not None else 0
    waits = [own * limit.per / limit.requests]
    for _, plan in _said(limit):
        if plan.requests:
            waits.append((plan.burst or 0) * (plan.per or limit.per) / plan.requests)
    return max(waits)


def _said(limit: model.Limit) -> Iterator[tuple[str, model.PlanLimit]]:
    for name, plan in (limit.plans or {}).items():
        if not plan.disabled:
            yield name, plan
