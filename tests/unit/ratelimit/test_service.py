"""ShouldRateLimit, as bytes: codes, counts, and what the Go service gets wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import grpc.aio
import pytest

from dragoman import proto
from dragoman.proto.envoy.service.ratelimit import v3 as rls
from dragoman.proto.grpc.health import v1 as health
from dragoman.ratelimit import metrics, plans, rules, service, wire
from dragoman.ratelimit.algorithms import FixedWindow, LeakyBucket
from dragoman.ratelimit.stores import base, guard, memory
from dragoman.ratelimit.transport import base as transport, grpc_aio
from tests.harness import net
from tests.unit.ratelimit.calls import ALL, LIMITS, OK, OVER, Call, Desk, codes, descriptor, headers, request

SECOND = 1_000_000
MINUTE = 60 * SECOND

UNIT = rls.RateLimitResponse.RateLimit.Unit


def test_the_first_calls_of_a_limit() -> None:
    desk = Desk(LIMITS)
    desk.now += 10 * SECOND + 400_000
    for left in range(19, -1, -1):
        answer = desk.ask(descriptor("minute=a"))
        assert answer.overall_code == OK
        (status,) = answer.statuses
        assert status.limit_remaining == left
        assert (status.current_limit.requests_per_unit, status.current_limit.unit) == (20, UNIT.MINUTE)
        # 49.6 s: rounded up, as who comes after 49 is denied again.
        assert (status.duration_until_reset.seconds, status.duration_until_reset.nanos) == (50, 0)
    for _ in range(5):
        answer = desk.ask(descriptor("minute=a"))
        assert (answer.overall_code, codes(answer)) == (OVER, [OVER])
    assert desk.ask(descriptor("minute=b")).statuses[0].limit_remaining == 19
    desk.now += 50 * SECOND
    assert desk.ask(descriptor("minute=a")).statuses[0].limit_remaining == 19


def test_several_descriptors_are_counted_each() -> None:
    desk = Desk(LIMITS)
    for number in range(1, 16):
        answer = desk.ask(descriptor("minute=a"), descriptor("hour=a"))
        assert answer.overall_code == (OK if number <= 10 else OVER)
        assert codes(answer) == [OK, OK if number <= 10 else OVER]
        assert answer.statuses[0].limit_remaining == 20 - number


def test_what_has_no_limit() -> None:
    desk = Desk(LIMITS)
    answer = desk.ask(descriptor("other=a"), descriptor("free=a"), descriptor("minute=a", "deeper=1"))
    assert (answer.overall_code, codes(answer)) == (OK, [OK] * 3)
    assert [each.limit_remaining for each in answer.statuses] == [0, wire.UNLIMITED, 0]
    assert not any(each.HasField("current_limit") for each in answer.statuses)
    assert desk.ask(descriptor("minute=a"), domain="unknown").overall_code == OK
    assert desk.metrics.decisions == {("shop", "ok"): 1, (metrics.OTHER, "ok"): 1}


def test_a_ban() -> None:
    desk = Desk(LIMITS)
    for hits in (None, 0, 1):
        answer = desk.ask(descriptor("ban=a", hits=hits))
        assert answer.overall_code == OVER
        assert answer.statuses[0].duration_until_reset.seconds == 86_400
    assert desk.ask(descriptor("ban=a", hits=3, refund=True)).overall_code == OK


def test_hits_of_the_request_and_of_a_descriptor() -> None:
    desk = Desk(LIMITS)
    answer = desk.ask(
        descriptor("minute=a"), descriptor("minute=b", hits=7), descriptor("minute=c", hits=0), hits=5
    )
    assert [each.limit_remaining for each in answer.statuses] == [15, 13, 20]
    assert desk.ask(descriptor("minute=a")).statuses[0].limit_remaining == 14


def test_looking_counts_nothing_and_says_whether_one_more_would_pass() -> None:
    desk = Desk(LIMITS)
    for left in range(9, -1, -1):
        assert desk.ask(descriptor("hour=a", hits=0)).overall_code == OK
        assert desk.ask(descriptor("hour=a")).statuses[0].limit_remaining == left
    assert desk.ask(descriptor("hour=a", hits=0)).overall_code == OVER


def test_a_refund_gives_back() -> None:
    """The Go service counts it as a hit."""
    desk = Desk(LIMITS)
    desk.ask(descriptor("hour=a", hits=10))
    assert desk.ask(descriptor("hour=a")).overall_code == OVER
    # The denied hit counted, as in the Go service's files it does: 11 - 4.
    assert desk.ask(descriptor("hour=a", hits=4, refund=True)).statuses[0].limit_remaining == 3
    assert desk.ask(descriptor("hour=a", hits=400, refund=True)).statuses[0].limit_remaining == 10
    assert desk.ask(descriptor("bucket=a", refund=True)).statuses[0].limit_remaining == 100
    assert desk.metrics.of("shop.hour").refunded == 404


def test_denied_hits_of_the_go_services_files_count_and_of_other_algorithms_do_not() -> None:
    desk = Desk(LIMITS)
    desk.ask(descriptor("hour=a", hits=8), descriptor("bucket=a", hits=98))
    assert desk.ask(descriptor("hour=a", hits=3), descriptor("bucket=a", hits=3)).overall_code == OVER
    assert codes(desk.ask(descriptor("hour=a"), descriptor("bucket=a"))) == [OVER, OK]


def test_a_token_bucket_says_when_to_come_back() -> None:
    desk = Desk(LIMITS)
    desk.ask(descriptor("bucket=a", hits=100))
    answer = desk.ask(descriptor("bucket=a", hits=60))
    assert answer.statuses[0].duration_until_reset.seconds == 36
    desk.now += 36 * SECOND
    assert desk.ask(descriptor("bucket=a", hits=60)).overall_code == OK
    # More than there can ever be: no time is right; the limit's own is said.
    assert desk.ask(descriptor("bucket=a", hits=101)).statuses[0].duration_until_reset.seconds == 60


def test_a_limit_that_the_request_brings_along() -> None:
    desk = Desk(LIMITS)
    own = descriptor("anything=a", limit=(2, 2, 0))
    first = desk.ask(own).statuses[0]
    assert (first.current_limit.requests_per_unit, first.current_limit.unit) == (2, UNIT.MINUTE)
    assert [desk.ask(own).overall_code for _ in range(2)] == [OK, OVER]
    many = desk.ask(descriptor("x=a", limit=(5, 4, 3))).statuses[0].current_limit
    assert (many.requests_per_unit, many.unit, many.unit_multiplier.value) == (5, UNIT.DAY, 3)
    week = desk.ask(descriptor("y=a", limit=(5, 4, 7))).statuses[0].current_limit
    assert (week.unit, week.HasField("unit_multiplier")) == (UNIT.WEEK, False)
    # A domain that is not known has no limits, its own included.
    assert desk.ask(own, own, own, domain="unknown").overall_code == OK


@pytest.mark.parametrize(
    ("payload", "word"),
    [
        (b"\xff\xff", "RateLimitRequest"),
        (request(descriptor("a=b"), domain=""), "domain"),
        (request(), "descriptors"),
        (request(descriptor()), "entries"),
        (request(descriptor("a=b", limit=(1, 0, 0))), "unit"),
        (request(descriptor("a=b", limit=(1, 6, 101))), "100 years"),
    ],
)
def test_what_is_no_request(payload: bytes, word: str) -> None:
    desk = Desk(LIMITS)
    answer = desk.service.should_rate_limit(payload, Call())
    assert isinstance(answer, transport.Status)
    assert answer.code is transport.Code.INVALID_ARGUMENT
    assert word in answer.message
    assert desk.metrics.decisions == {(metrics.OTHER, "error"): 1}


def test_values_that_are_no_text_are_counted() -> None:
    """protobuf takes none, and Envoy sends them all the same. What else the request says stays."""
    desk = Desk(LIMITS)
    sent = request(
        descriptor("hour=XY", hits=4), descriptor("minute=ann"), descriptor("own=a", limit=(7, 1, 0))
    )
    odd = sent.replace(b"XY", b"\xff\xc3")
    with pytest.raises(proto.DecodeError):
        rls.RateLimitRequest.FromString(odd)
    for left in ([6, 19, 6], [2, 18, 5]):
        answer = desk.service.should_rate_limit(odd, Call())
        assert isinstance(answer, bytes)
        assert [one.limit_remaining for one in rls.RateLimitResponse.FromString(answer).statuses] == left
    assert desk.ask(descriptor("hour=\ufffd\ufffd", hits=0)).statuses[0].limit_remaining == 2


def test_without_a_configuration_nothing_is_decided() -> None:
    fresh = service.Service(memory.Memory(), metrics.Metrics())
    answer = fresh.should_rate_limit(request(descriptor("a=b")), Call())
    assert isinstance(answer, transport.Status)
    assert answer.code is transport.Code.UNAVAILABLE
    assert _health(fresh) == health.HealthCheckResponse.NOT_SERVING
    fresh.load(rules.Table())
    assert _health(fresh) == health.HealthCheckResponse.SERVING
    fresh.drain()
    assert _health(fresh) == health.HealthCheckResponse.NOT_SERVING
    unknown = fresh.check(health.HealthCheckRequest(service="x").SerializeToString(), Call())
    assert isinstance(unknown, transport.Status)
    assert unknown.code is transport.Code.NOT_FOUND


def _health(of: service.Service) -> int:
    answer = of.check(health.HealthCheckRequest(service="ratelimit").SerializeToString(), Call())
    assert isinstance(answer, bytes)
    return health.HealthCheckResponse.FromString(answer).status


def test_shadow_mode_counts_and_denies_nothing() -> None:
    desk = Desk(
        """
        domain: shop
        descriptors:
        - key: a
          shadow_mode: true
          rate_limit: {unit: day, requests_per_unit: 2, name: small}
        """,
        presentation=rules.Presentation(x_ratelimit=True, body=True),
    )
    answers = [desk.ask(descriptor("a=1")) for _ in range(4)]
    assert [(each.overall_code, codes(each)) for each in answers] == [(OK, [OK])] * 4
    assert [each.statuses[0].limit_remaining for each in answers] == [1, 0, 0, 0]
    assert not answers[3].response_headers_to_add  # the client hears nothing of it
    assert proto.to_dict(answers[3].dynamic_metadata) == {"shadow_limits": ["small"]}
    counts = desk.metrics.of("shop.a")
    assert (counts.within, counts.over, counts.shadow) == (2, 2, 2)


def test_shadow_mode_of_the_whole_service() -> None:
    desk = Desk(LIMITS, options=service.Options(shadow=True))
    answers = [desk.ask(descriptor("hour=a")) for _ in range(12)]
    assert {each.overall_code for each in answers} == {OK}
    assert desk.metrics.of("shop.hour").shadow == 2


QUOTAS = """
    domain: shop
    descriptors:
    - {key: one, quota_mode: true, metadata: {pool: {a: 1}}, rate_limit: {unit: day, requests_per_unit: 1}}
    - key: two
      quota_mode: true
      metadata: {pool: {a: 2, b: 2}}
      rate_limit: {unit: day, requests_per_unit: 2}
    - {key: hard, rate_limit: {unit: day, requests_per_unit: 5}}
"""


def test_quotas_deny_only_together() -> None:
    desk = Desk(QUOTAS, options=service.Options(detailed_metadata=True))
    both = descriptor("one=a"), descriptor("two=a")
    answers = [desk.ask(*both) for _ in range(3)]
    assert [each.overall_code for each in answers] == [OK, OK, OVER]
    said = [proto.to_dict(each.dynamic_metadata) for each in answers]
    assert [each.get("quotaModeViolations") for each in said] == [None, [0], [0, 1]]
    assert [each.get("metadata") for each in said] == [
        {"pool": {"a": 1, "b": 2}},
        {"pool": {"a": 2, "b": 2}},
        None,
    ]
    # A limit that is none of them denies alone.
    for _ in range(5):
        desk.ask(descriptor("hard=a"))
    answer = desk.ask(descriptor("two=b"), descriptor("hard=a"))
    assert (answer.overall_code, codes(answer)) == (OVER, [OK, OVER])


def test_metadata_say_all_about_a_request_where_they_are_to() -> None:
    desk = Desk(LIMITS, options=service.Options(detailed_metadata=True))
    answer = desk.ask(descriptor("hour=a", "x="), descriptor("hour=b", hits=4), hits=3)
    assert proto.to_dict(answer.dynamic_metadata) == {
        "domain": "shop",
        "descriptors": [{"entries": ["hour=a", "x"]}, {"entries": ["hour=b"], "hitsAddend": 4}],
        "hitsAddend": 3,
        "quotaModeEnabled": False,
    }


def test_a_limit_replaces_another() -> None:
    desk = Desk(
        """
        domain: shop
        descriptors:
        - {key: all, rate_limit: {unit: day, requests_per_unit: 1, name: general}}
        - key: vip
          rate_limit: {unit: day, requests_per_unit: 3, name: special, replaces: [{name: general}]}
        """
    )
    both = descriptor("all=a"), descriptor("vip=bob")
    answers = [desk.ask(*both) for _ in range(4)]
    assert [each.overall_code for each in answers] == [OK, OK, OK, OVER]
    assert not answers[0].statuses[0].HasField("current_limit")
    # The one that was replaced has not been touched.
    assert desk.ask(descriptor("all=a")).overall_code == OK


def test_plans_and_keeping_the_count_when_a_plan_changes() -> None:
    def limit(number: int) -> tuple[rules.Limit, ...]:
        return (rules.Limit(FixedWindow(number, MINUTE), "requests", f"shop.{number}"),)

    rule = rules.Rule(
        "shop",
        (rules.Match("plan"), rules.Match("consumer")),
        limit(2),
        plan_key="plan",
        plans={"gold": limit(10), "silver": limit(5)},
    )
    desk = Desk(LIMITS)
    desk.service.load(rules.Table([rule]))

    def left(plan: str, consumer: str = "bob") -> int:
        return desk.ask(descriptor(f"plan={plan}", f"consumer={consumer}")).statuses[0].limit_remaining

    assert [left("silver") for _ in range(3)] == [4, 3, 2]
    assert [left("gold") for _ in range(2)] == [6, 5]
    assert left("gold", "eve") == 9
    assert [left("", "dan"), left("lead", "dan")] == [1, 0]
    with_prices = rules.Limit(FixedWindow(100, MINUTE), "cost", "shop.cost", cost=7)
    desk.service.load(rules.Table([rules.Rule("shop", (rules.Match("user"),), (with_prices,))]))
    assert desk.ask(descriptor("user=bob", hits=3)).statuses[0].limit_remaining == 79


def test_a_new_configuration_keeps_the_counts() -> None:
    desk = Desk(LIMITS)
    for _ in range(8):
        desk.ask(descriptor("hour=a"))
    desk.load(LIMITS.replace("requests_per_unit: 10}", "requests_per_unit: 12}"))
    assert desk.ask(descriptor("hour=a")).statuses[0].limit_remaining == 3
    desk.load("domain: other\ndescriptors: []")
    assert not desk.ask(descriptor("hour=a")).statuses[0].HasField("current_limit")


def test_what_is_counted_of_a_limit() -> None:
    desk = Desk(LIMITS)
    desk.ask(descriptor("hour=a", hits=7))  # 7
    desk.ask(descriptor("hour=a", hits=2))  # 9: one of them beyond 80 %
    desk.ask(descriptor("hour=a"))  # 10
    desk.ask(descriptor("hour=a", hits=5))
    counts = desk.metrics.of("shop.hour")
    assert (counts.within, counts.near, counts.over, counts.shadow) == (10, 2, 5, 0)
    text = desk.metrics.text().decode()
    assert 'dragoman_ratelimit_hits_total{limit="shop.hour",outcome="over"} 5.0' in text
    assert 'dragoman_ratelimit_near_limit_hits_total{limit="shop.hour"} 2.0' in text
    assert 'dragoman_ratelimit_decisions_total{domain="shop",outcome="over_limit"} 1.0' in text
    assert "dragoman_ratelimit_decision_seconds_count 4.0" in text


def test_names_from_requests_are_bounded() -> None:
    counted = metrics.Metrics()
    for number in range(metrics.MOST + 50):
        counted.of(f"user_{number}").within += 1
    assert len(counted.limits) == metrics.MOST + 1
    assert counted.of("one more") is counted.of(metrics.OTHER)


class Away:
    """A store that is not there."""

    trouble = "tests"

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def healthy(self) -> bool:
        return False

    def take(self, asks: Sequence[base.Ask], done: base.Done) -> None:
        done([None] * len(asks))


def test_without_the_store_limits_do_what_they_say() -> None:
    desk = Desk(
        """
        domain: shop
        descriptors:
        - {key: open, rate_limit: {unit: day, requests_per_unit: 1}}
        - {key: closed, rate_limit: {unit: day, requests_per_unit: 1, on_error: closed}}
        - {key: local, rate_limit: {unit: day, requests_per_unit: 4, on_error: local}}
        """,
        store=guard.Guard(Away(), instances=2),
        presentation=ALL,
    )
    assert [desk.ask(descriptor("open=a")).overall_code for _ in range(3)] == [OK] * 3
    assert not desk.ask(descriptor("open=a")).response_headers_to_add  # nobody knows
    denied = desk.ask(descriptor("closed=a"))
    assert denied.overall_code == OVER
    assert headers(denied)["retry-after"] == "1"
    assert [desk.ask(descriptor("local=a")).overall_code for _ in range(3)] == [OK, OK, OVER]
    assert desk.metrics.of("shop.open").unknown == 4
    assert desk.metrics.of("shop.closed").unknown == 1
    assert desk.metrics.of("shop.local").within == 2


def test_without_the_store_calls_of_closed_limits_fail_unless_something_else_denies() -> None:
    """Envoy's filter knows what to do then; a limit that could be counted has its say first."""
    desk = Desk(
        """
        domain: shop
        descriptors:
        - {key: fail, rate_limit: {unit: day, requests_per_unit: 9, on_error: fail}}
        - {key: shadow, shadow_mode: true, rate_limit: {unit: day, requests_per_unit: 9, on_error: fail}}
        - {key: local, rate_limit: {unit: day, requests_per_unit: 1, on_error: local}}
        """,
        store=guard.Guard(Away()),
        presentation=ALL,
    )
    both = request(descriptor("fail=a"), descriptor("local=a"))
    answer = desk.service.should_rate_limit(both, Call())
    assert isinstance(answer, transport.Status)
    assert answer.code is transport.Code.UNAVAILABLE
    assert desk.ask(descriptor("shadow=a")).overall_code == OK
    denied = desk.ask(descriptor("fail=a"), descriptor("local=a"))
    assert (denied.overall_code, headers(denied)["x-ratelimit-limit"]) == (OVER, "1")
    assert desk.metrics.decisions == {("shop", "error"): 1, ("shop", "ok"): 1, ("shop", "over_limit"): 1}
    assert desk.metrics.of("shop.fail").unknown == 2


class Slow(memory.Memory):
    """Answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[tuple[Sequence[base.Ask], base.Done]] = []

    def take(self, asks: Sequence[base.Ask], done: base.Done) -> None:
        self.waiting.append((asks, done))

    def answer(self) -> None:
        asks, done = self.waiting.pop(0)
        super().take(asks, done)


def test_an_answer_that_comes_later_finishes_the_call() -> None:
    store = Slow()
    desk = Desk(LIMITS, store=store)
    call = Call()
    assert desk.service.should_rate_limit(request(descriptor("hour=a")), call) is transport.LATER
    assert call.outcome is None
    store.answer()
    assert isinstance(call.outcome, bytes)
    assert rls.RateLimitResponse.FromString(call.outcome).statuses[0].limit_remaining == 9


async def test_a_delay_is_a_late_answer_and_never_beyond_the_deadline() -> None:
    desk = Desk(LIMITS)
    limit = rules.Limit(LeakyBucket(10, SECOND, 5), "paced", "shop.paced")
    desk.service.load(rules.Table([rules.Rule("shop", (rules.Match("user"),), (limit,))]))
    loop = asyncio.get_running_loop()
    payload = request(descriptor("user=bob"))
    calls = [Call(), Call(), Call(), Call(), Call(loop.time() + 0.15), Call()]
    begin = loop.time()
    answers = [desk.service.should_rate_limit(payload, call) for call in calls]
    assert isinstance(answers[0], bytes)
    assert answers[1:] == [transport.LATER] * 5
    denied = desk.service.should_rate_limit(payload, Call())  # a denial is never late
    assert isinstance(denied, bytes)
    assert calls[3].on_cancel is not None
    calls[3].on_cancel()
    await net.until("the last answer", lambda: calls[5].outcome is not None)
    times = {number: call.at - begin for number, call in enumerate(calls) if call.outcome is not None}
    assert set(times) == {1, 2, 4, 5}
    assert times[1] >= 0.099
    assert times[2] >= 0.199
    assert times[5] >= 0.499
    assert times[4] < times[5]  # 0.4 s were due; it had 0.15


def test_requests_are_remembered_and_not_without_end() -> None:
    desk = Desk(LIMITS)
    seen = desk.service._plans
    for number in range(plans.MOST + 500):
        desk.service.should_rate_limit(request(descriptor(f"free={number}")), Call())
    assert plans.MOST // 2 <= len(seen) <= plans.MOST
    long = request(descriptor("hour=" + "x" * 2000))
    desk.service.should_rate_limit(long, Call())
    assert seen.get(long) is None
    assert seen.get(request(descriptor("free=20400"))) is not None


async def test_health_is_watched_over_the_transport_that_streams() -> None:
    desk = Desk(LIMITS)
    carrier = grpc_aio.Server(transport.Settings(), desk.service.handlers(), desk.service.streams())
    port = await carrier.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            watch = channel.stream_stream(service.HEALTH_WATCH)

            def begin(name: str) -> AsyncIterator[bytes]:
                async def asked() -> AsyncIterator[bytes]:
                    yield health.HealthCheckRequest(service=name).SerializeToString()

                return aiter(watch(asked()))

            known, unknown = begin("ratelimit"), begin("who")
            serving = health.HealthCheckResponse.FromString(await anext(known))
            assert serving.status == health.HealthCheckResponse.SERVING
            nobody = health.HealthCheckResponse.FromString(await anext(unknown))
            assert nobody.status == health.HealthCheckResponse.SERVICE_UNKNOWN
            desk.service.drain()
            draining = health.HealthCheckResponse.FromString(await anext(known))
            assert draining.status == health.HealthCheckResponse.NOT_SERVING
    finally:
        await carrier.stop(0.1)
