"""What the properties of the algorithms are tried with: limits, and adversarial streams of hits."""

from __future__ import annotations

from hypothesis import strategies as st

from dragoman.ratelimit.algorithms import (
    Algorithm,
    FixedWindow,
    LeakyBucket,
    SlidingCounter,
    SlidingLog,
    TokenBucket,
)

START = 1_800_000_000_000_000
"""A moment in 2027, in microseconds."""

limits = st.sampled_from([1, 2, 3, 7, 10, 50])
windows = st.sampled_from([1_000_000, 10_000_000, 60_000_000, 1_500_000, 999_983])


@st.composite
def algorithms(draw: st.DrawFn, *kinds: type[Algorithm]) -> Algorithm:
    kinds = kinds or (FixedWindow, SlidingCounter, SlidingLog, TokenBucket, LeakyBucket)
    kind = draw(st.sampled_from(kinds))
    limit, window = draw(limits), draw(windows)
    if kind is TokenBucket:
        return TokenBucket(limit, window, draw(st.sampled_from([0, 1, 5, 20])))
    if kind is LeakyBucket:
        burst = draw(st.integers(0, 8))
        return LeakyBucket(limit, window, burst, draw(st.integers(0, burst)), draw(st.booleans()))
    return kind(limit, window)  # type: ignore[call-arg]


@st.composite
def streams(draw: st.DrawFn, window: int, *, hits: st.SearchStrategy[int]) -> list[tuple[int, int]]:
    """(moment, hits): bursts, steady traffic, and what likes to stand at the edges of windows."""
    now = START - START % window + draw(st.sampled_from([0, 1, window // 2, window - 1]))
    steps = st.sampled_from(
        [0, 0, 0, 1, window // 100, window // 10, window // 3, window // 2, window - 1, window, window + 1]
    )
    stream = []
    for _ in range(draw(st.integers(1, 60))):
        now += draw(steps)
        stream.append((now, draw(hits)))
    return stream


once = st.just(1)
several = st.sampled_from([1, 1, 1, 2, 3, 5, 20])
anything = st.sampled_from([1, 1, 1, 2, 3, 5, 20, 0, 0, -1, -3, -50])
