"""Limits that Envoy keeps by itself, as the rate-limit service assigns them (RLQS), and what is wrong there.

Envoy's schema allows more than Envoy 1.40 can do: one configuration ends the process, others let everything
pass without a word. `reasons` finds them; a translator makes diagnostics of what it returns, and no encoder
is to be given a quota for which there is an `error`. Seen against the real Envoy in tests/envoy/test_rlqs.py.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

LEAST: Final = 1.0
"""Requests per second of a limit that a quota is good for."""

MOST_BUCKETS: Final = 20_000
"""Buckets of one limit that an Envoy is asked to keep; it keeps each until a minute after its last request,
and had 132 MB with so many.
"""


MOST_OF_A_ROUTE: Final = 2
"""Quotas that a request may have to pass; Envoy has a filter for each."""

GUARD: Final = (("guard", "closed"),)
"""The name of a bucket that no limit is for: the service lets everything pass it, and never gives it up. So
an Envoy that has an assignment for it hears from the service."""

CLOSED_FOR: Final = 86_400.0 * 30
"""Seconds for which `failure: Closed` denies after an assignment has ended."""


class Blanket(enum.Enum):
    """A strategy without numbers. `REUSE`: the last assignment, for longer than it is good for."""

    ALLOW = "allow"
    DENY = "deny"
    REUSE = "reuse"


@dataclass(frozen=True, slots=True)
class Bucket:
    """A token bucket: `tokens` at first and at most, `fill` more every `interval` seconds."""

    tokens: int
    fill: int
    interval: float


@dataclass(frozen=True, slots=True)
class PerUnit:
    """So many requests in a unit of time."""

    requests: int
    unit: str


Strategy = Blanket | Bucket | PerUnit


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a bucket's name. `bounded`: how many values it has, None for as many as clients want."""

    name: str
    bounded: int | None = None


@dataclass(frozen=True, slots=True)
class Quota:
    """`requests` in `window` seconds, over all Envoys. `unassigned`: until the first assignment; `expired`:
    for `expired_for` seconds after an assignment has ended, then `unassigned` again. `exact`: the limit was
    asked to be kept to the request.
    """

    requests: int
    window: float
    parts: tuple[Part, ...]
    unassigned: Strategy = Blanket.ALLOW
    expired: Strategy | None = Blanket.DENY
    expired_for: float = 60.0
    exact: bool = False


class Reason(NamedTuple):
    """Why a quota will not do. `field` is one of Quota's; without `error` it works, but hardly as meant."""

    code: str
    error: bool
    field: str
    message: str
    help: str


def reasons(quota: Quota) -> tuple[Reason, ...]:
    """Everything that is wrong; empty for a quota that Envoy keeps as said."""
    return (*_strategies(quota), *_buckets(quota), *_size(quota))


def _refused(field: str, message: str, remedy: str) -> Reason:
    return Reason("DRG1971", True, field, message, remedy)


def _strategies(quota: Quota) -> Iterator[Reason]:
    if isinstance(quota.unassigned, Bucket):
        message = "Envoy 1.40 crashes on a token bucket for requests without an assignment"
        yield _refused("unassigned", message, "let them pass or deny them")
    for field, strategy in (("unassigned", quota.unassigned), ("expired", quota.expired)):
        match strategy:
            case PerUnit():
                message = "Envoy does not know requests per unit of time, and would let everything pass"
                yield _refused(field, message, "deny, let pass, or (after an assignment) use a token bucket")
            case Blanket.REUSE:
                message = (
                    "Envoy does not use an assignment again once it has ended, and would let everything pass"
                )
                yield _refused(field, message, "deny, or use a token bucket")
            case Bucket() if field == "expired":
                yield from _bucket(field, strategy)
            case _:
                pass
    if quota.expired is None:
        if quota.unassigned is not Blanket.DENY:
            message = (
                "nothing is said for the time after an assignment: with the service gone, everything passes"
            )
            remedy = "say that it may (allow), or deny, or use a token bucket"
            yield Reason("DRG1972", False, "expired", message, remedy)
    elif quota.expired_for < 1 or quota.expired_for > 315_576_000_000:
        message = "the time after an assignment has to be a second at least"
        yield _refused("expired_for", message, "60 seconds are usual")


def _bucket(field: str, bucket: Bucket) -> Iterator[Reason]:
    if not (0 < bucket.tokens < 1 << 32 and 0 < bucket.fill < 1 << 32):
        message = "a token bucket has from 1 to 4294967295 tokens, and as many come in"
        yield _refused(field, message, "to let nothing pass, deny")
    if bucket.interval < 1 or bucket.interval % 1:
        # It cuts off what is not a whole second; of half a second nothing is left, and the rate is infinite.
        message = f"Envoy counts a token bucket's interval in whole seconds, {bucket.interval:g} s is none"
        yield _refused(field, message, "say how many tokens come in a second")


def _buckets(quota: Quota) -> Iterator[Reason]:
    if not quota.parts:
        yield _refused("parts", "Envoy wants a name for the bucket", "add a part with a fixed text")
    total = 1
    for part in quota.parts:
        if part.bounded is None:
            message = f"`{part.name}` makes as many buckets as clients want, and each costs Envoy memory"
            remedy = "count by what is limited in number, or count with the service (global) instead"
            yield Reason("DRG1973", True, "parts", message, remedy)
            return
        total *= part.bounded
    if total > MOST_BUCKETS:
        message = f"there may be {total:,} buckets; {MOST_BUCKETS:,} are as many as should be"
        remedy = "leave out a part, or count with the service (global) instead"
        yield Reason("DRG1973", True, "parts", message, remedy)


def _size(quota: Quota) -> Iterator[Reason]:
    rate = quota.requests / quota.window
    if not quota.requests:
        return  # a ban is as exact as it gets
    if rate < LEAST:
        message = f"{rate:.2g} requests a second are too few to be divided among Envoys"
        yield Reason("DRG1974", False, "requests", message, "count with the service (global), which is exact")
    elif quota.exact:
        message = "Envoys keep a quota about right: for seconds more may pass, by a burst for each Envoy"
        yield Reason("DRG1974", False, "requests", message, "count with the service (global), which is exact")
