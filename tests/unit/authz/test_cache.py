"""What is remembered of tokens: for how long, and how much."""

from __future__ import annotations

import math

from dragoman.authz.cache import Cache, Clock
from dragoman.authz.verdicts import Denial, Grant

GOOD = Grant((("x-user-id", "ann"),))
BAD = Denial(401, "invalid_token", "no", "inactive")


class Time:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_000_000.0, 50.0

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.wall, lambda: self.steady)


def test_for_its_time_and_no_longer() -> None:
    time = Time()
    cache = Cache(10, time.clock)
    cache.put(cache.key("t"), GOOD, good=True, ttl=300, end=math.inf)
    time.pass_by(299.9)
    assert cache.get(cache.key("t")) is GOOD
    time.pass_by(0.1)
    assert cache.get(cache.key("t")) is None
    assert len(cache) == 0


def test_never_beyond_the_end() -> None:
    time = Time()
    cache = Cache(10, time.clock)
    cache.put(cache.key("t"), GOOD, good=True, ttl=300, end=time.wall + 7)
    time.pass_by(6.9)
    assert cache.get(cache.key("t")) is GOOD
    time.pass_by(0.1)
    assert cache.get(cache.key("t")) is None
    cache.put(cache.key("t"), GOOD, good=True, ttl=300, end=time.wall)
    assert len(cache) == 0, "what has ended is not even taken"


def test_an_end_holds_whichever_clock_steps() -> None:
    time = Time()
    cache = Cache(10, time.clock)
    cache.put(cache.key("t"), GOOD, good=True, ttl=300, end=time.wall + 7)
    time.wall += 8  # the clock was late, and is set
    assert cache.get(cache.key("t")) is None
    cache.put(cache.key("u"), GOOD, good=True, ttl=300, end=time.wall + 7)
    time.wall -= 3600
    time.steady += 7
    assert cache.get(cache.key("u")) is None, "an hour that comes twice gives a token no second life"


def test_bounded_and_the_oldest_go_first() -> None:
    cache = Cache(3, Time().clock)
    for name in "abc":
        cache.put(cache.key(name), GOOD, good=True, ttl=300, end=math.inf)
    cache.get(cache.key("a"))
    cache.put(cache.key("d"), GOOD, good=True, ttl=300, end=math.inf)
    assert [cache.get(cache.key(name)) is not None for name in "abcd"] == [True, False, True, True]


def test_guesses_drive_no_good_token_out() -> None:
    cache = Cache(3, Time().clock)
    cache.put(cache.key("good"), GOOD, good=True, ttl=300, end=math.inf)
    for number in range(1000):
        cache.put(cache.key(f"guess {number}"), BAD, good=False, ttl=10, end=math.inf)
    assert cache.get(cache.key("good")) is GOOD
    assert len(cache) == 4


def test_a_token_that_turns_bad_is_not_good_as_well() -> None:
    cache = Cache(3, Time().clock)
    cache.put(cache.key("t"), GOOD, good=True, ttl=300, end=math.inf)
    cache.put(cache.key("t"), BAD, good=False, ttl=10, end=math.inf)
    assert cache.get(cache.key("t")) is BAD


def test_keys_are_not_tokens_and_differ_by_cache() -> None:
    one, other = Cache(1, Clock()), Cache(1, Clock())
    assert one.key("secret-token") == one.key("secret-token")
    assert one.key("secret-token") != other.key("secret-token")
    assert b"secret" not in one.key("secret-token")
