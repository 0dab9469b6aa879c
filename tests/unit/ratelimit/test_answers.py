"""What becomes of decisions: what clients are told, metadata, and the response's bytes."""

from __future__ import annotations

import json
import textwrap

from hypothesis import given, settings, strategies as st

from dragoman import proto
from dragoman.proto.envoy.service.ratelimit import v3 as rls
from dragoman.ratelimit import answers, goconfig, plans, rules, wire
from dragoman.ratelimit.algorithms import Decision, FixedWindow
from dragoman.ratelimit.stores import guard, memory
from tests.unit.ratelimit.calls import ALL, LIMITS, OK, OVER, Desk, codes, descriptor, headers, request

SECOND = 1_000_000
MINUTE = 60 * SECOND
UNIT = rls.RateLimitResponse.RateLimit.Unit


def test_what_clients_are_told() -> None:
    desk = Desk(LIMITS, presentation=ALL)
    desk.now += 500_000
    told = headers(desk.ask(descriptor("hour=a"), descriptor("minute=a", hits=19)))
    # Of the two, the one with the least remaining.
    assert told == {
        "x-ratelimit-limit": "20",
        "x-ratelimit-remaining": "1",
        "x-ratelimit-reset": "60",
        "ratelimit-limit": "20",
        "ratelimit-remaining": "1",
        "ratelimit-reset": "60",
        "ratelimit-policy": "20;w=60",
    }
    desk.ask(descriptor("hour=a", hits=9))
    answer = desk.ask(descriptor("hour=a"), descriptor("minute=a", hits=19))
    told = headers(answer)
    # Of two that deny, the one that keeps waiting longest.
    assert (told["x-ratelimit-limit"], told["x-ratelimit-remaining"]) == ("10", "0")
    assert told["retry-after"] == told["ratelimit-reset"] == "3600"
    assert told["content-type"] == "application/json"
    assert json.loads(answer.raw_body) == {
        "error": "rate_limit_exceeded",
        "message": "Too many requests. Try again later.",
        "retryAfter": 3600,
        "limit": 10,
    }


def test_what_is_behind_a_denial_is_in_the_metadata() -> None:
    limit = rules.Limit(FixedWindow(0, SECOND), "per-user", "shop.user", "shop/limits")
    desk = Desk(LIMITS)
    desk.service.load(rules.Table([rules.Rule("shop", (rules.Match("user"),), (limit,))]))
    answer = desk.ask(descriptor("user=bob"))
    assert proto.to_dict(answer.dynamic_metadata) == {"limit": "per-user", "policy": "shop/limits"}
    desk.load(LIMITS)
    assert proto.to_dict(desk.ask(descriptor("ban=a")).dynamic_metadata) == {"limit": "shop.ban"}


def test_several_limits_of_one_descriptor_are_one_status() -> None:
    limits = (
        rules.Limit(FixedWindow(3, MINUTE), "short", "m"),
        rules.Limit(FixedWindow(5, 60 * MINUTE), "long", "h"),
        rules.Limit(FixedWindow(1, MINUTE), "tried", "s", shadow=True),
    )
    desk = Desk(LIMITS)
    desk.service.load(rules.Table([rules.Rule("shop", (rules.Match("user"),), limits)]))
    answers = [desk.ask(descriptor("user=bob")) for _ in range(4)]
    assert [codes(each) for each in answers] == [[OK], [OK], [OK], [OVER]]
    assert answers[3].statuses[0].current_limit.name == "short"
    desk.now += MINUTE
    # The denied request hit `long` as well: 4 of 5.
    answers = [desk.ask(descriptor("user=bob")) for _ in range(2)]
    assert [codes(each) for each in answers] == [[OK], [OVER]]
    assert answers[1].statuses[0].current_limit.name == "long"


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_the_short_way_to_an_answer_leads_to_the_same_as_the_long_one(data: st.DataObject) -> None:
    desk = Desk(LIMITS)
    keys = st.sampled_from(["minute", "hour", "bucket", "free", "other"])
    asked = data.draw(st.lists(st.tuples(keys, st.sampled_from([None, 0, 1, 3])), min_size=1, max_size=4))
    plan = plans.make(
        request(*(descriptor(f"{key}=a", hits=hits) for key, hits in asked)),
        rules.Table(goconfig.read("a", textwrap.dedent(LIMITS)).rules),
        desk.metrics,
    )
    assert isinstance(plan, plans.Plan)
    assert plan.plain
    decisions: list[Decision | None] = []
    memory.Memory().take(plan.asks, decisions.extend)
    short, long = answers.plain(plan, decisions), answers.make(plan, decisions, detailed=False, shadow=False)
    if any(decision is not None and not decision.allowed for decision in decisions):
        assert short is None
    else:
        assert short == long
        assert all(counts.within % 2 == 0 for counts in desk.metrics.limits.values())  # both have counted


texts = st.text(max_size=20)
numbers = st.integers(0, (1 << 32) - 1)


@given(
    st.sampled_from([1, 2]),
    texts,
    numbers,
    st.sampled_from(
        [SECOND, 7 * SECOND, MINUTE, 86_400 * SECOND, 604_800 * SECOND, 1500, 31_536_000 * SECOND]
    ),
    numbers,
    st.integers(0, 1 << 40),
    st.lists(st.tuples(texts, texts), max_size=3),
    st.binary(max_size=20),
)
@settings(max_examples=200, deadline=None)
def test_what_is_written_by_hand_is_what_protobuf_writes(
    code: int,
    name: str,
    number: int,
    window: int,
    remaining: int,
    seconds: int,
    told: list[tuple[str, str]],
    body: bytes,
) -> None:
    limit = rules.Limit(FixedWindow(number, window), name)
    status = wire.status(code, wire.current_limit(limit), remaining, seconds)
    told_bytes = [wire.header(key, value) for key, value in told]
    said = {"limit": name, "deep": {"list": [1.5, True, None]}}
    written = wire.response(code, [status, status], *told_bytes, wire.body(body), wire.metadata(said))
    unit, multiplier = wire.unit(window)
    message = rls.RateLimitResponse(overall_code=code, raw_body=body)  # type: ignore[arg-type]
    for _ in range(2):
        each = message.statuses.add(code=code, limit_remaining=remaining)  # type: ignore[arg-type]
        each.current_limit.requests_per_unit = number
        each.current_limit.unit = UNIT.Value(unit.upper() or "UNKNOWN")
        each.current_limit.name = name
        if multiplier > 1:
            each.current_limit.unit_multiplier.value = multiplier
        each.duration_until_reset.seconds = seconds
        each.duration_until_reset.SetInParent()
    for key, value in told:
        message.response_headers_to_add.add(key=key, value=value)
    message.dynamic_metadata.update(said)
    assert rls.RateLimitResponse.FromString(written) == message
    assert written == message.SerializeToString(deterministic=True)


def test_a_decision_has_no_place_for_a_guess() -> None:
    """The guard's decisions are told by identity: an equal one from a store is a decision like any other."""
    assert Decision(True, 0, 0) == guard.OPENED
    assert Decision(True, 0, 0) is not guard.OPENED
