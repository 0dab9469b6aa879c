"""RLQS as a state machine: who gets which share of a limit, at any order of reports, comings and goings."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dragoman.ir import quota
from dragoman.ratelimit import metrics, rules
from dragoman.ratelimit.algorithms import FixedWindow
from dragoman.ratelimit.rlqs import books, shares

SECOND = 1_000_000
USER = rules.Match("user")
LIMIT = 1000


def table(number: int = LIMIT, **more: Any) -> rules.Table:
    limited = rules.Limit(FixedWindow(number, SECOND), metric="shop.limited.user", **more)
    free = rules.Rule("shop", (rules.Match("free"),), (rules.Limit(None),))
    partner = rules.Match("partner", "p*", wildcard=True, shared=True)
    pooled = rules.Limit(FixedWindow(100, SECOND), metric="shop.partner")
    return rules.Table(
        [
            rules.Rule("shop", (rules.Match("name", "limited"), USER), (limited,)),
            rules.Rule("shop", (partner,), (pooled,)),
            free,
        ]
    )


BUCKET = (("name", "limited"), ("user", "bob"))
FREE = (("free", "x"),)
UNKNOWN = (("who", "x"),)


class World:
    """Books with a clock, and what every Envoy has been told."""

    def __init__(self, number: int = LIMIT) -> None:
        self.now = 1000.0
        self.measures = metrics.Metrics()
        self.books = books.Books(self.measures)
        self.told: dict[tuple[int, books.Bucket], books.Action] = {}
        self.ends: dict[tuple[int, books.Bucket], float] = {}
        self.fresh: defaultdict[tuple[int, books.Bucket], int] = defaultdict(int)
        """How often a bucket began anew."""
        self.take(self.books.load(table(number), self.now))

    def take(self, pushes: list[books.Push]) -> list[books.Push]:
        for push in pushes:
            key = push.stream, push.bucket
            if push.action is books.Rule.ABANDON:
                self.told.pop(key, None)
                self.ends.pop(key, None)
                continue
            if self.told.get(key) != push.action:
                self.fresh[key] += 1
            self.told[key] = push.action
            self.ends[key] = self.now + books.TTL
        return pushes

    def report(
        self, stream: int, allowed: int = 1, denied: int = 0, bucket: books.Bucket = BUCKET
    ) -> list[books.Push]:
        usage = books.Usage(bucket, allowed, denied)
        return self.take(self.books.report(stream, "shop", [usage], self.now))

    def wait(self, seconds: float) -> None:
        """Time passes, with the timer that runs every second."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + 1.0, until)
            self.take(self.books.tick(self.now))
            for key in [key for key, end in self.ends.items() if end <= self.now]:
                del self.told[key], self.ends[key]

    def units(self, bucket: books.Bucket = BUCKET) -> dict[int, int]:
        """What Envoys go on with, vanished ones too."""
        return {
            stream: action.units
            for (stream, name), action in self.told.items()
            if name == bucket and isinstance(action, shares.Grant)
        }


POT = shares.Pot(100_000, 100, 1000)


def test_the_first_gets_everything_and_a_newcomer_half_at_once() -> None:
    world = World()
    first = world.books.open("10.0.0.1")
    assert world.report(first) == [books.Push(first, BUCKET, shares.Grant(100_000, 100, 1000))]
    second = world.books.open("10.0.0.2")
    pushes = world.report(second)
    assert {push.stream: push.action for push in pushes} == {
        first: shares.Grant(50_000, 100, 500),
        second: shares.Grant(50_000, 100, 500),
    }


def test_a_newcomer_gets_an_equal_share_however_much_others_want() -> None:
    world = World()
    first, second = world.books.open("10.0.0.1"), world.books.open("10.0.0.2")
    world.report(first)
    for _ in range(3):
        world.wait(5)
        world.report(first, 5000, 95_000)
    world.report(second)
    assert world.units() == {first: 50_000, second: 50_000}


def test_shares_follow_demand_and_then_stay() -> None:
    world = World()
    streams = [world.books.open(f"10.0.0.{number}") for number in range(3)]
    demands = dict(zip(streams, (3000, 900, 0), strict=True))
    for stream in streams:
        world.report(stream)
    for _ in range(4):
        world.wait(5)
        for stream, demand in demands.items():
            passed = min(demand * 5, world.units()[stream] // 20)
            world.report(stream, passed, demand * 5 - passed)
    fresh = dict(world.fresh)
    units = world.units()
    total = 3000 + 900 + LIMIT / 30  # the idle one has its floor
    for stream, demand in demands.items():
        assert abs(units[stream] / POT.units - max(demand, LIMIT / 30) / total) < 0.05
    for _ in range(6):
        world.wait(5)
        for stream, demand in demands.items():
            world.report(stream, demand * 5)
    assert world.units() == units
    assert world.fresh == fresh  # no bucket began anew


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5000), min_size=1, max_size=6).filter(any))
def test_shares_come_to_rest_at_the_demand(demands: list[int]) -> None:
    """Steady demand, whatever it is: who goes short has its part, or nearly, and it stays so."""
    world = World()
    streams = {world.books.open(f"10.0.0.{number}"): demand for number, demand in enumerate(demands)}
    for stream in streams:
        world.report(stream)
    for turn in range(16):
        world.wait(5)
        for stream, demand in streams.items():
            if (stream, BUCKET) in world.told:
                world.report(stream, demand * 5)
        if turn == 10:
            fresh, units = dict(world.fresh), world.units()
    here = {stream: streams[stream] for stream in world.units()}
    floor = LIMIT / len(here) / 10
    total = sum(max(demand, floor) for demand in here.values())
    for stream, demand in here.items():
        part = max(demand, floor) / total
        share = world.units()[stream] / POT.units
        if demand > share * LIMIT:
            assert share > part * 0.85
    if set(units) == set(here):  # idle ones are abandoned after a minute
        assert world.units() == units
        assert dict(world.fresh) == fresh


def test_grants_are_renewed_without_reports() -> None:
    world = World()
    stream = world.books.open("10.0.0.1")
    world.report(stream)
    world.wait(books.SILENT)
    assert world.units() == {stream: 100_000}
    assert world.ends[stream, BUCKET] > world.now + 5
    world.wait(books.TTL + books.SILENT)  # it says nothing: it is not renewed
    assert world.units() == {}
    assert len(world.books) == 0


def test_an_idle_bucket_is_abandoned_and_its_share_given_away() -> None:
    world = World()
    first, second = world.books.open("10.0.0.1"), world.books.open("10.0.0.2")
    world.report(first)
    world.report(second)
    for _ in range(14):
        world.wait(5)
        world.report(first, 2000)
        if (second, BUCKET) in world.told:
            world.report(second, 0)
    assert world.units() == {first: 100_000}
    assert world.report(second)[0].action != books.Rule.ABANDON  # and it comes again


def test_the_guards_bucket_is_never_given_up() -> None:
    """No limit is for it, and an Envoy without it refuses requests."""
    world = World()
    stream = world.books.open("10.0.0.1")
    guard = quota.GUARD
    world.report(stream, bucket=guard)
    for _ in range(30):
        world.wait(5)
        world.report(stream, 0, bucket=guard)
        assert world.told[stream, guard] is books.Rule.ALLOW


def test_what_a_vanished_stream_had_is_given_away_when_it_has_ended() -> None:
    world = World()
    first, second = world.books.open("10.0.0.1"), world.books.open("10.0.0.2")
    world.report(first)
    world.report(second)
    world.books.close(second)
    world.wait(5)
    world.report(first, 5000)
    assert world.units()[first] == 50_000  # the other may still go on
    for _ in range(5):
        world.wait(5)
        world.report(first, 5000)
    assert world.units() == {first: 100_000}


def test_who_comes_again_from_the_same_host_goes_on_with_the_same_bucket() -> None:
    world = World()
    first, second = world.books.open("10.0.0.1"), world.books.open("10.0.0.2")
    world.report(first)
    world.report(second)
    had = world.told[second, BUCKET]
    world.books.close(second)
    again = world.books.open("10.0.0.2")
    assert world.report(again) == [books.Push(again, BUCKET, had)]
    assert len(world.books) == 2


def test_blanket_answers() -> None:
    world = World()
    stream = world.books.open("10.0.0.1")
    assert world.report(stream, bucket=FREE)[0].action is books.Rule.ALLOW
    assert world.report(stream, bucket=UNKNOWN)[0].action is books.Rule.ALLOW
    world.report(stream)
    pushes = world.take(world.books.load(table(0), world.now))
    assert pushes == [books.Push(stream, BUCKET, books.Rule.DENY)]
    world.wait(10)
    assert world.report(stream, 0, 50) == world.report(stream, 0, 0) == []
    pushes = world.take(world.books.load(table(100), world.now))
    assert pushes == [books.Push(stream, BUCKET, shares.Grant(100_000, 1000, 100))]
    pushes = world.take(world.books.load(table(100, shadow=True), world.now))
    assert pushes == [books.Push(stream, BUCKET, books.Rule.ALLOW)]
    assert world.books.load(table(100, shadow=True), world.now) == []  # nothing new, nothing said


def test_buckets_that_count_together_share_a_pot() -> None:
    world = World()
    stream = world.books.open("10.0.0.1")
    one, two = (("partner", "p1"),), (("partner", "p2"),)
    world.report(stream, bucket=one)
    world.report(stream, bucket=two)
    assert world.units(one)[stream] + world.units(two)[stream] == 100_000


def test_reports_are_counted_as_hits() -> None:
    world = World()
    stream = world.books.open("10.0.0.1")
    world.report(stream, 1)
    world.report(stream, 10, 5)
    counts = world.measures.of("shop.limited.user")
    assert (counts.within, counts.over) == (11, 5)


def test_buckets_are_bounded() -> None:
    few = books.Books(metrics.Metrics(), most=10)
    few.load(table(), 0.0)
    first, second = few.open("10.0.0.1"), few.open("10.0.0.2")
    for number in range(5):
        few.report(first, "shop", [books.Usage((("user", str(number)), ("name", "limited")), 1, 0)], 0.0)
    assert (len(few), few.refused) == (1, 4)
    for number in range(12):
        stream = few.open(f"10.0.1.{number}")
        few.report(stream, "shop", [books.Usage(BUCKET, 1, 0)], 0.0)
    assert len(few) == 10
    for name in ((), (("user", "x" * 300),), tuple((f"k{number}", "v") for number in range(17))):
        refused = few.refused
        assert few.report(second, "shop", [books.Usage(name, 1, 0)], 0.0) == []
        assert few.refused == refused + 1


class Shares(RuleBasedStateMachine):
    """Proxies come, report, are silent and go. No two share a host, so nobody takes over."""

    @initialize()
    def begin(self) -> None:
        self.world = World()
        self.live: list[int] = []
        self.hosts = 0

    @rule()
    def come(self) -> None:
        self.hosts += 1
        stream = self.world.books.open(f"10.0.0.{self.hosts}")
        self.live.append(stream)
        self.world.report(stream)

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 50), allowed=st.integers(0, 10_000), denied=st.integers(0, 10_000))
    def report(self, which: int, allowed: int, denied: int) -> None:
        self.world.report(self.live[which % len(self.live)], allowed, denied)

    @rule(seconds=st.sampled_from([0.2, 1.0, 5.0, 8.0, 30.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 50))
    def go(self, which: int) -> None:
        self.world.books.close(self.live.pop(which % len(self.live)))

    @invariant()
    def never_more_than_the_limit(self) -> None:
        """What is in force adds up to the limit, and to one bucket's worth for each proxy at once."""
        grants = [
            action
            for action in getattr(self, "world", World()).told.values()
            if isinstance(action, shares.Grant)
        ]
        assert all(grant.seconds == POT.seconds for grant in grants)
        assert sum(grant.units for grant in grants) <= POT.units
        assert sum(grant.burst for grant in grants) <= POT.burst + len(grants)

    @invariant()
    def everybody_who_reports_has_something(self) -> None:
        world = getattr(self, "world", None)
        for holder in world.books.holders() if world is not None else ():
            assert holder.action is not None or holder.gone

    @invariant()
    def the_books_forget(self) -> None:
        world = getattr(self, "world", None)
        assert world is None or len(world.books) <= self.hosts

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        for stream in self.live:
            self.world.books.close(stream)
        self.world.wait(books.TTL + books.SILENT + 10)
        assert len(self.world.books) == 0


Shares.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestShares = Shares.TestCase
