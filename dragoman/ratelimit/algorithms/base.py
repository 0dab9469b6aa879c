"""What all algorithms share: the decision, the units of time, and the words that they use.

All times are whole microseconds since the epoch, all amounts whole hits. Redis computes in doubles, which
are exact for integers below 2**53; `tick_for` picks the unit of time in which a limit's arithmetic stays
below that, so that Redis and memory decide the same to the last hit. Every algorithm has

- `limit`, `window`: hits per microseconds, as `current_limit` tells them; `capacity`: what passes at once;
- `take(state, now, hits)`: decides, and changes the state in place. `hits` 0 only looks: it is allowed where
  one more hit would be. Negative hits give back: never below zero, always allowed;
- `expires(state)`: the moment from which the state is as good as none;
- `count_denied`: whether denied hits count as well. Off, a denied request leaves no trace. On (as in
  envoyproxy/ratelimit, and needed where a cost is known only when the work is done), all that is asked is
  counted, but never more than twice the capacity: what is owed beyond that is forgiven.

A clock that goes back is a clock that stands still.
"""

from __future__ import annotations

from typing import Final, NamedTuple

SECOND: Final = 1_000_000
"""Microseconds."""

NEVER: Final = -1
"""`Decision.retry` of hits that no state would let pass, because there are more than the capacity."""

EXACT: Final = 1 << 53
"""Below this every whole number is a double."""

LONGEST: Final = 100 * 366 * 86_400 * SECOND
"""Microseconds of the longest window."""

_TICKS: Final[tuple[int, ...]] = tuple(10**power for power in range(10))


class Decision(NamedTuple):
    """What became of the hits.

    `remaining`: hits that would pass at once right after. `reset`: microseconds until everything counted is
    forgotten (for fixed windows: until the window ends). `retry`: microseconds until the same hits would
    pass if nobody else came, 0 where they have passed, `NEVER`. `delay`: how late, in microseconds, an
    allowed request is to go on its way. `used`: what counts right after, in hits.
    """

    allowed: bool
    remaining: int
    reset: int
    retry: int = 0
    delay: int = 0
    used: int = 0


def check(limit: int, window: int) -> None:
    """Raises ValueError where these are no numbers of a limit; users' numbers are checked before."""
    if not 0 <= limit < 1 << 32:
        raise ValueError(f"a limit is between 0 and 4294967295, not {limit}")
    if not 1 <= window <= LONGEST:
        raise ValueError(f"a window is from a microsecond to 100 years, not {window} microseconds")


def tick_for(capacity: int, window: int) -> int:
    """Microseconds per tick: the smallest power of ten for which twice `capacity` windows, and once more for
    what is asked, stay exact in a double. 1 up to some hundred hits a year or four billion a second.
    """
    for tick in _TICKS:
        if 4 * max(capacity, 1) * -(-window // tick) < EXACT:
            return tick
    raise ValueError(f"{capacity} hits in {window} microseconds are beyond exact arithmetic")


def ceiling(amount: int, divisor: int) -> int:
    """`amount / divisor`, rounded up."""
    return -(-amount // divisor)
