"""Limits of the control plane's policies as rules of the service: the way past files.

Called by `runtime` with every change. The same limit gives the same rule, whatever its numbers: counts stay.
A limit that is gone is known for a while, since proxies may still ask for it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Final

from dragoman.ir import model as ir, ratelimit
from dragoman.ratelimit import rules
from dragoman.ratelimit.algorithms import (
    Algorithm,
    FixedWindow,
    LeakyBucket,
    SlidingCounter,
    SlidingLog,
    TokenBucket,
    base,
)

LINGER: Final = 60.0
"""Seconds that a limit is known after it is gone."""

# Envoy's filter for limits that are closed answers 503 whether the service is gone or its store.
_ON_ERROR: Final = {
    ratelimit.Failure.OPEN: rules.OnError.OPEN,
    ratelimit.Failure.CLOSED: rules.OnError.FAIL,
    ratelimit.Failure.LOCAL: rules.OnError.LOCAL,
}


class Limits:
    """`table` of the limits that there are now."""

    def __init__(self) -> None:
        self._there: frozenset[ir.RateLimit] = frozenset()
        self._gone: dict[ir.RateLimit, float] = {}

    @property
    def lingering(self) -> bool:
        """Whether there are limits that are known although they are gone."""
        return bool(self._gone)

    def table(self, limits: Iterable[ir.RateLimit], now: float) -> rules.Table:
        """`now` in seconds, of any clock that does not go back."""
        there = frozenset(limits)
        self._gone.update((limit, now + LINGER) for limit in self._there - there)
        self._gone = {limit: end for limit, end in self._gone.items() if end > now and limit not in there}
        self._there = there
        # The first of several rules for one descriptor counts.
        return rules.Table(rule for limit in (*there, *self._gone) for rule in of(limit))


@functools.lru_cache(maxsize=4096)
def of(limit: ir.RateLimit) -> tuple[rules.Rule, ...]:
    """The rules of a limit: one for each form of its descriptor."""
    own = _limit(limit, ratelimit.Plan("", limit.amount, limit.window, limit.burst))
    plans = {plan.name: (_limit(limit, plan),) for plan in limit.plans}
    domain = ratelimit.QUOTAS if limit.quota else limit.gateway
    return tuple(
        rules.Rule(
            domain,
            tuple(map(_match, shape)),
            (own,),
            plan_key=ratelimit.OF_PLAN if plans else "",
            plans=plans,
        )
        for shape in ratelimit.shapes(limit)
    )


def _limit(limit: ir.RateLimit, plan: ratelimit.Plan) -> rules.Limit:
    told = limit.told
    return rules.Limit(
        _algorithm(limit, plan),
        name=limit.name,
        metric=f"{limit.gateway}.{limit.id}",
        policy=limit.policy,
        shadow=limit.shadow,
        on_error=_ON_ERROR[limit.failure],
        presentation=rules.Presentation(
            told.x_ratelimit, told.draft, told.retry_after, told.body, told.message
        ),
    )


def _match(entry: ratelimit.Entry) -> rules.Match:
    anything = entry.value is None or entry.key == ratelimit.PLACE
    return rules.Match(entry.key, None if anything else entry.value, counted=entry.counted)


def _algorithm(limit: ir.RateLimit, plan: ratelimit.Plan) -> Algorithm | None:
    """What is charged when all is done has to count although it does not fit."""
    if plan.amount is None:
        return None
    amount, window = plan.amount, round(plan.window * base.SECOND)
    denied = limit.cost is not None and limit.cost.response
    match limit.counting:
        case ratelimit.Counting.FIXED_WINDOW:
            return FixedWindow(amount, window, denied)
        case ratelimit.Counting.SLIDING_LOG:
            return SlidingLog(amount, window, denied)
        case ratelimit.Counting.SLIDING_COUNTER:
            return SlidingCounter(amount, window, denied)
        case ratelimit.Counting.TOKEN_BUCKET:
            return TokenBucket(amount, window, plan.burst, denied)
        case ratelimit.Counting.LEAKY_BUCKET:
            return LeakyBucket(amount, window, plan.burst, limit.delay, limit.nodelay, denied)
