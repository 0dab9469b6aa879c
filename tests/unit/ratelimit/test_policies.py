"""Policies' limits as rules of the service: which descriptors hit them, and what they count by."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dragoman.ir import model as ir, ratelimit
from dragoman.ratelimit import policies, rules
from dragoman.ratelimit.algorithms import FixedWindow, LeakyBucket
from dragoman.ratelimit.stores import base as stores
from dragoman.translators.gateway.models import ratelimitpolicy

LIMIT = ir.RateLimit(
    "shop/p/a", "a", "shop/p", 10, 60.0, ratelimit.Counting.FIXED_WINDOW, gateway="shop/edge"
)
WRITES = ratelimit.Condition(":method", "PUT|POST", regex=True)
USER = ratelimit.KeyPart(ratelimit.Part.HEADER, "x-user")
TENANT = ratelimit.KeyPart(ratelimit.Part.QUERY, "tenant")


def keys(table: rules.Table, *entries: rules.Entry, domain: str = "shop/edge") -> list[bytes]:
    return [
        stores.key(domain, hit, at, hit.limit.algorithm.code)
        for at, hit in enumerate(table.find(domain, entries))
        if hit.limit.algorithm is not None
    ]


def test_every_form_of_a_descriptor_has_a_rule() -> None:
    limit = replace(LIMIT, key=(USER, TENANT), cost=ratelimit.Cost("x-cost"), place="*")
    table = rules.Table(policies.of(limit))
    start = (("limit", "shop/p/a"), ("place", "HTTPRoute/shop/cart"))
    found = []
    for cost in ("said", "default"):
        head = (*start, ("cost", cost))
        found.append(keys(table, *head, ("header:x-user", "ann"), ("query:tenant", "red")))
        assert len(keys(table, *head, ("header:x-user", "ann"))) == 1
        assert keys(table, *head) == []
    assert found[0] == found[1] != [], "who says a cost and who does not take from one count"
    assert keys(table, *start, ("cost", "said"), ("header:x-user", "ann"), domain="shop/other") == []


def test_conditions_take_no_part_in_the_count() -> None:
    when = (ratelimit.Condition(":method", "GET"), ratelimit.Condition("x-a"))
    plain = keys(rules.Table(policies.of(LIMIT)), ("limit", "shop/p/a"))
    chosen = rules.Table(policies.of(replace(LIMIT, when=when)))
    assert keys(chosen, ("limit", "shop/p/a"), ("when", "0"), ("when", "1")) == plain != []
    assert keys(chosen, ("limit", "shop/p/a")) == []


def test_a_changed_number_keeps_the_count_and_wins_at_once() -> None:
    known = policies.Limits()
    before = known.table([LIMIT], 0.0)
    after = known.table([replace(LIMIT, amount=20)], 1.0)
    assert keys(before, ("limit", "shop/p/a")) == keys(after, ("limit", "shop/p/a"))
    (hit,) = after.find("shop/edge", [("limit", "shop/p/a")])
    assert hit.limit.algorithm == FixedWindow(20, 60_000_000)


def test_what_is_gone_is_known_for_a_while() -> None:
    known = policies.Limits()
    known.table([LIMIT], 0.0)
    entries = [("limit", "shop/p/a")]
    assert known.table([], 1.0).find("shop/edge", entries)
    assert known.table([], policies.LINGER).find("shop/edge", entries)
    assert not known.table([], policies.LINGER + 1.0).find("shop/edge", entries)


def test_what_is_charged_when_all_is_done_counts_though_it_does_not_fit() -> None:
    done = policies.of(replace(LIMIT, cost=ratelimit.Cost("x-cost", response=True)))
    (limit,) = done[0].limits
    assert limit.algorithm is not None
    assert limit.algorithm.count_denied
    (limit,) = policies.of(LIMIT)[0].limits
    assert limit.algorithm is not None
    assert not limit.algorithm.count_denied


@pytest.mark.parametrize("counting", list(ratelimit.Counting))
@pytest.mark.parametrize("window", [0.05, 99_999 * 3600.0])
def test_the_extremes_that_users_may_write_can_be_counted(
    counting: ratelimit.Counting, window: float
) -> None:
    most = 100_000 if counting is ratelimit.Counting.SLIDING_LOG else ratelimitpolicy.MOST
    bursts = (0, ratelimitpolicy.MOST) if counting.value.endswith("Bucket") else (0,)
    for amount in (1, most):
        for burst in bursts:
            assert policies.of(
                replace(LIMIT, counting=counting, window=window, amount=amount, burst=burst, nodelay=True)
            )


def test_a_leaky_bucket() -> None:
    (rule,) = policies.of(replace(LIMIT, counting=ratelimit.Counting.LEAKY_BUCKET, burst=5, delay=2))
    assert rule.limits[0].algorithm == LeakyBucket(10, 60_000_000, 5, 2)


GOLD = ratelimit.Plan("gold", 50, 3600.0)
FREE = ratelimit.Plan("free", None, 60.0)
CONSUMER = ratelimit.KeyPart(ratelimit.Part.CONSUMER)


def test_a_plan_is_another_number_of_the_same_count() -> None:
    table = rules.Table(policies.of(replace(LIMIT, key=(CONSUMER,), plans=(GOLD, FREE))))

    def asked(plan: str) -> list[rules.Entry]:
        return [("limit", "shop/p/a"), ("of-plan", plan), ("consumer", "shop//ann")]

    assert keys(table, *asked("gold")) == keys(table, *asked("-")) != []
    found = {plan: table.find("shop/edge", asked(plan))[0].limit.algorithm for plan in ("gold", "-", "free")}
    assert found == {
        "gold": FixedWindow(50, 3_600_000_000),
        "-": FixedWindow(10, 60_000_000),
        "free": None,
    }


def test_a_quota_is_found_by_its_name_in_any_order() -> None:
    quota = replace(
        LIMIT, where=ratelimit.Where.QUOTA, key=(CONSUMER,), plans=(GOLD,), place="*", when=(WRITES,)
    )
    table = rules.Table(policies.of(quota))
    name = {"gateway": "shop/edge", "limit": "shop/p/a", "place": "r/1", "of-plan": "gold", "consumer": "c"}
    for order in (list(name.items()), sorted(name.items())):
        (hit,) = table.find_unordered(ratelimit.QUOTAS, order)
        assert hit.limit.algorithm == FixedWindow(50, 3_600_000_000)
    assert not table.find_unordered(ratelimit.QUOTAS, [("limit", "shop/p/a")])
