"""Redis' scripts decide as memory does: the same streams, the same moments, the same decisions."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from dragoman.ratelimit.algorithms import (
    Algorithm,
    FixedWindow,
    LeakyBucket,
    SlidingCounter,
    SlidingLog,
    TokenBucket,
)
from dragoman.ratelimit.stores.redis import scripts
from dragoman.redis import link, url
from tests.harness.redis import Redis
from tests.unit.ratelimit import strategies

pytestmark = pytest.mark.asyncio(loop_scope="module")

START = strategies.START
SECOND = 1_000_000

TOLD = scripts.Scripts("local now = tonumber(ARGV[#ARGV])\n")
"""The same scripts, except that the last argument is the time."""

KEYS = (b"{%d}" % number for number in itertools.count())


async def run(server: Redis, algorithm: Algorithm, stream: list[tuple[int, int]], key: bytes) -> list[Any]:
    """The decisions of Redis, all in one pipeline."""
    target = url.parse(server.url)
    talk = await link.open_connection(target.addresses[0], target, 10.0)
    try:
        script = TOLD.of(algorithm)
        await link.ask(talk, script.load())
        answers = await asyncio.gather(
            *(
                link.ask(talk, script.call([key], [*scripts.arguments(algorithm, hits), b"%d" % now]))
                for now, hits in stream
            )
        )
    finally:
        talk.close()
    return [scripts.read(algorithm, hits, answer) for (_, hits), answer in zip(stream, answers, strict=True)]


def expected(algorithm: Algorithm, stream: list[tuple[int, int]], state: Any = None) -> list[Any]:
    state = algorithm.fresh() if state is None else state
    return [algorithm.take(state, now, hits) for now, hits in stream]


@given(st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_redis_decides_as_memory_does(server: Redis, data: st.DataObject) -> None:
    algorithm = data.draw(strategies.algorithms())
    if data.draw(st.booleans()):
        numbers = {
            name: getattr(algorithm, name)
            for name in ("limit", "window", "burst", "delay", "nodelay")
            if hasattr(algorithm, name)
        }
        algorithm = type(algorithm)(**numbers, count_denied=True)
    stream = data.draw(strategies.streams(algorithm.window, hits=strategies.anything))
    assert await run(server, algorithm, stream, next(KEYS)) == expected(algorithm, stream)


@pytest.mark.parametrize(
    "algorithm",
    [
        FixedWindow(1_000_003, 31_536_000 * SECOND),
        SlidingCounter(1_000_003, 31_536_000 * SECOND),
        SlidingLog(997, 31_536_000 * SECOND),
        TokenBucket(999_983, 31_536_000 * SECOND),
        TokenBucket(4_294_967_295, SECOND),
        TokenBucket(4_294_967_291, 86_400 * SECOND),
        LeakyBucket(999_983, 2_592_000 * SECOND, 1000),
    ],
    ids=repr,
)
async def test_large_numbers_are_as_exact_as_small_ones(server: Redis, algorithm: Algorithm) -> None:
    some = max(algorithm.capacity // 7, 1)
    stream = [(START + 12_345_677 * step, hits) for step in range(10) for hits in (some, 1, some, -3, 0)]
    stream += [(START + 200 * SECOND, algorithm.capacity), (START + 201 * SECOND, 4_000_000_000)]
    assert await run(server, algorithm, stream, next(KEYS)) == expected(algorithm, stream)


async def test_a_changed_limit_keeps_what_redis_has_counted(server: Redis) -> None:
    for kind in (FixedWindow, SlidingCounter, SlidingLog, TokenBucket):
        before, after, key = kind(10, 60 * SECOND), kind(13, 60 * SECOND), next(KEYS)
        first, second = [(START, 10)], [(START, 0), *[(START, 1)] * 5]
        state = before.fresh()
        assert await run(server, before, first, key) == expected(before, first, state)
        found = await run(server, after, second, key)
        assert found == expected(after, second, state)
        assert [each.allowed for each in found[1:]] == [True] * 3 + [False] * 2


@pytest.mark.parametrize(
    "algorithm",
    [
        FixedWindow(5, SECOND),
        SlidingCounter(5, SECOND),
        SlidingLog(5, SECOND),
        TokenBucket(5, SECOND),
        LeakyBucket(5, SECOND, 4),
    ],
    ids=lambda each: each.name,
)
async def test_keys_expire_and_looking_makes_none(server: Redis, algorithm: Algorithm) -> None:
    key = next(KEYS)
    await run(server, algorithm, [(START, 0), (START, 0)], key)
    assert await server.call("EXISTS", key) == 0
    await run(server, algorithm, [(START, 3)], key)
    left = await server.call("PTTL", key)
    expires = algorithm.fresh()
    algorithm.take(expires, START, 3)  # type: ignore[arg-type]
    until = (algorithm.expires(expires) - START) / 1000  # type: ignore[arg-type]
    # Never before the state is as good as none, and not much later than the slack.
    assert until <= left + 500
    assert left <= until + scripts.SLACK + 1
    await run(server, algorithm, [(START, -3)], key)
    if not isinstance(algorithm, FixedWindow | SlidingCounter):
        assert await server.call("EXISTS", key) == 0
