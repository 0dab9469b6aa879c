"""Rule 92: the rate of new streams and their places."""

from __future__ import annotations

import asyncio

from dragoman import config
from dragoman.xds.throttle import Throttle


def make(rate: float = 10.0, burst: int = 5, wait: float = 1.0, building: int = 100) -> Throttle:
    return Throttle(config.Throttle(rate=rate, burst=burst, wait=wait, building=building))


def test_rule_92_a_burst_passes_and_the_rest_is_spaced() -> None:
    throttle = make()
    delays = [round(throttle._reserve(100.0), 3) for _ in range(18)]
    assert delays[:6] == [0.0] * 6
    assert delays[6:16] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert delays[16:] == [1.1, 1.1], "who is turned away takes nobody's turn"


def test_rule_92_turns_come_back_with_time_up_to_the_burst() -> None:
    throttle = make()
    for _ in range(16):
        throttle._reserve(100.0)
    assert round(throttle._reserve(101.0), 3) == 0.1
    assert [throttle._reserve(200.0) > 0 for _ in range(7)] == [False] * 6 + [True]


def test_rule_92_without_a_rate_only_the_places_count() -> None:
    throttle = make(rate=0.0)
    assert [throttle._reserve(100.0) for _ in range(1000)] == [0.0] * 1000


async def test_rule_92_places() -> None:
    throttle = make(building=1, wait=0.02)
    first = await throttle.enter()
    assert first is not None
    assert await throttle.enter() is None
    assert throttle.refused == 1
    waiting = asyncio.create_task(throttle.enter())
    await asyncio.sleep(0)
    assert throttle.waiting == 1
    first.leave()
    first.leave()  # counts once
    second = await waiting
    assert second is not None
    assert await throttle.enter() is None


async def test_rule_92_who_gives_up_waiting_keeps_no_place() -> None:
    throttle = make(building=1, wait=20)
    first = await throttle.enter()
    assert first is not None
    waiting = asyncio.create_task(throttle.enter())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    first.leave()
    assert await throttle.enter() is not None
    assert throttle.waiting == 0


async def test_rule_92_a_thousand_at_once_are_let_in_by_turns() -> None:
    """As after a restart: everybody gets in, and never more than `building` of them together."""
    throttle = make(rate=0.0, wait=60, building=50)
    inside = most = 0

    async def come() -> None:
        nonlocal inside, most
        place = await throttle.enter()
        assert place is not None
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1
        place.leave()

    await asyncio.gather(*(come() for _ in range(1000)))
    assert (most, throttle.refused, throttle.waiting) == (50, 0, 0)
