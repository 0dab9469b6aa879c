"""What clients are told by the limits of a route that Envoy counts itself.

Envoy says of a denial how many tokens the bucket holds that had too few (X-RateLimit-Limit), and nothing else
of it. So a limit is known by that number (`UNKNOWN` where its policy keeps the number from clients), and two
limits of a route that have the same are one there. The translator warns of what that costs, the encoder
writes down who is told what.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from dragoman.ir import model as ir

UNKNOWN: Final = 0
CUSTOMARY: Final = 429


@dataclass(frozen=True, slots=True)
class Denial:
    """An answer. `amount` in `window` seconds is the limit, 0 where it may be one or another; `names` and
    `policies`: what may be behind it. `message` "": the usual one."""

    amount: int
    window: float
    status: int = CUSTOMARY
    message: str = ""
    body: bool = True
    retry_after: bool = True
    draft: bool = False
    names: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()

    @property
    def said(self) -> tuple[object, ...]:
        """How clients are told."""
        return self.status, self.message, self.body, self.retry_after, self.draft


def by_number(limits: Iterable[ir.RateLimit]) -> dict[int, Denial]:
    """Size of the bucket -> the answer: of several with the same size the first one's."""
    found: dict[int, Denial] = {}
    for number, one in _each(limits):
        other = found.setdefault(number, one)
        if other is not one:
            found[number] = replace(
                other,
                amount=one.amount if one.amount == other.amount else 0,
                window=one.window if one.window == other.window else 0.0,
                names=tuple(dict.fromkeys(other.names + one.names)),
                policies=tuple(dict.fromkeys(other.policies + one.policies)),
            )
    return found


def confused(limits: Sequence[ir.RateLimit]) -> Iterator[tuple[ir.RateLimit, ir.RateLimit]]:
    """Limits of which the second is answered for as the first one is, which is not what it says."""
    first: dict[int, tuple[ir.RateLimit, Denial]] = {}
    for limit in limits:
        others = {}
        for number, one in _each((limit,)):
            other, answer = first.setdefault(number, (limit, one))
            if other is not limit and answer.said != one.said:
                others[other.name] = other
        for other in others.values():
            yield other, limit


def _each(limits: Iterable[ir.RateLimit]) -> Iterator[tuple[int, Denial]]:
    for limit in limits:
        if not limit.local or limit.shadow:
            continue
        told = limit.told
        numbers = [(limit.amount, limit.window, limit.burst)]
        numbers += [(plan.amount, plan.window, plan.burst) for plan in limit.plans if plan.amount is not None]
        for amount, window, burst in numbers:
            yield (
                (burst or amount) if told.x_ratelimit else UNKNOWN,
                Denial(
                    amount,
                    window,
                    limit.status or CUSTOMARY,
                    told.message,
                    told.body,
                    told.retry_after,
                    told.draft,
                    (limit.name,),
                    (limit.policy,),
                ),
            )
