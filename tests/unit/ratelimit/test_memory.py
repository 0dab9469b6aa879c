"""The store in memory: bounded, exact to the microsecond, and no dearer with many keys."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from dragoman.ratelimit import rules
from dragoman.ratelimit.algorithms import Algorithm, Decision, FixedWindow, SlidingLog, TokenBucket
from dragoman.ratelimit.stores import base, memory
from tests.unit.ratelimit import strategies

SECOND = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now = strategies.START

    def __call__(self) -> int:
        return self.now


def take(store: memory.Memory, algorithm: Algorithm, key: bytes, hits: int = 1) -> Decision:
    found: list[Decision | None] = []
    store.take([base.Ask(rules.Limit(algorithm), algorithm, key, hits)], found.extend)
    (decision,) = found
    assert decision is not None
    return decision


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_store_of_many_keys_decides_as_each_would_alone(data: st.DataObject) -> None:
    clock = Clock()
    store = memory.Memory(clock=clock)
    algorithms = [data.draw(strategies.algorithms()) for _ in range(3)]
    states = [each.fresh() for each in algorithms]
    steps = st.sampled_from([0, 0, 1, 1000, 100_000, 999_983, SECOND, 10 * SECOND, 200 * SECOND])
    for _ in range(80):
        clock.now += data.draw(steps)
        which, hits = data.draw(st.integers(0, 2)), data.draw(strategies.anything)
        algorithm = algorithms[which]
        expected = algorithm.take(states[which], clock.now, hits)  # type: ignore[arg-type]
        assert take(store, algorithm, b"%d" % which, hits) == expected
    assert len(store) <= 3


def test_what_has_expired_is_gone_and_makes_no_work() -> None:
    clock = Clock()
    store = memory.Memory(clock=clock)
    second, hour = FixedWindow(5, SECOND), FixedWindow(5, 3600 * SECOND)
    for number in range(1000):
        take(store, second, b"s%d" % number)
        take(store, hour, b"h%d" % number)
    assert len(store) == 2000
    clock.now += 3 * SECOND
    for _ in range(150):  # a call clears away some, never all at once
        take(store, hour, b"h0")
    assert len(store) == 1000
    assert take(store, hour, b"h999").remaining == 3
    clock.now += 2 * 3600 * SECOND
    for _ in range(150):
        take(store, second, b"", 0)
    assert len(store) == 0


def test_a_key_that_is_hit_again_and_again_stays() -> None:
    clock = Clock()
    store = memory.Memory(clock=clock)
    bucket = TokenBucket(10, SECOND)
    for _ in range(1000):
        take(store, bucket, b"busy", 10)
        clock.now += SECOND // 2
        assert take(store, bucket, b"busy").allowed
    assert len(store) == 1


def test_looking_and_denying_a_ban_keep_nothing() -> None:
    store = memory.Memory()
    for number in range(100):
        take(store, SlidingLog(3, SECOND), b"l%d" % number, 0)
        take(store, FixedWindow(0, SECOND), b"f%d" % number, 1)
        take(store, TokenBucket(3, SECOND), b"t%d" % number, -5)
    assert len(store) == 0


def test_beyond_its_bound_who_would_expire_first_makes_room() -> None:
    clock = Clock()
    store = memory.Memory(most=100, clock=clock)
    hour, week = FixedWindow(5, 3600 * SECOND), FixedWindow(5, 7 * 86_400 * SECOND)
    for number in range(50):
        take(store, week, b"w%d" % number, 5)
    for number in range(1000):
        take(store, hour, b"h%d" % number, 5)
    assert len(store) == 100
    assert store.evicted == 950
    assert not any(take(store, week, b"w%d" % number).allowed for number in range(50))
    assert take(store, hour, b"h0").allowed  # forgotten


def test_a_changed_limit_keeps_the_count() -> None:
    store = memory.Memory(clock=Clock())
    take(store, FixedWindow(5, 60 * SECOND), b"k", 5)
    assert take(store, FixedWindow(7, 60 * SECOND), b"k").remaining == 1


def test_names_of_buckets() -> None:
    limit, other = rules.Limit(None, "a"), rules.Limit(None)

    def name(
        domain: str, entries: list[tuple[str, str]], one: rules.Limit = limit, position: int = 0
    ) -> bytes:
        return base.key(domain, rules.Hit(one, tuple(entries), "m"), position, b"f")

    names = [
        name("d", [("a_b", "c")]),
        name("d", [("a", "b_c")]),
        name("d", [("a", "b"), ("c", "")]),
        name("d", [("a", "b,1:c,0:")]),
        name("d", [("a", "b"), ("c", "")], other),
        name("d", [("a", "b"), ("c", "")], other, 1),
        name("da", [("", "b"), ("c", "")]),
        name("d", [("a", "x" * 1000)]),
        name("d", [("a", "x" * 999)]),
        name("d", [("a", "\udcff\u00e9")]),
    ]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= base.LONGEST + 3
    assert all(each.startswith(b"{") and each.endswith(b"}f") for each in names)
