"""How a limit counts: one module per algorithm, each pure arithmetic on integers.

`base` has what they share. An algorithm knows no clock, no key and no store; stores hand it a state, the
moment and the hits. `Algorithm` is the union of all five, for `match` with `assert_never`.
"""

from dragoman.ratelimit.algorithms.base import NEVER, Decision
from dragoman.ratelimit.algorithms.fixed_window import FixedWindow
from dragoman.ratelimit.algorithms.leaky_bucket import LeakyBucket
from dragoman.ratelimit.algorithms.sliding_counter import SlidingCounter
from dragoman.ratelimit.algorithms.sliding_log import SlidingLog
from dragoman.ratelimit.algorithms.token_bucket import TokenBucket

__all__ = [
    "NEVER",
    "Algorithm",
    "Decision",
    "FixedWindow",
    "LeakyBucket",
    "SlidingCounter",
    "SlidingLog",
    "TokenBucket",
]

Algorithm = FixedWindow | SlidingCounter | SlidingLog | TokenBucket | LeakyBucket
