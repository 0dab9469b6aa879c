"""`StreamRateLimitQuotas` over grpc.aio: streams, bad messages, the timer, the end of a stream."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping

import grpc
import grpc.aio
import pytest

from dragoman.proto.envoy.service.rate_limit_quota import v3 as api
from dragoman.proto.envoy.type import v3 as types
from dragoman.ratelimit import metrics, rules
from dragoman.ratelimit.algorithms import FixedWindow
from dragoman.ratelimit.rlqs import service as rlqs
from dragoman.ratelimit.transport import base, grpc_aio
from tests.harness import net

DENY = types.RateLimitStrategy.BlanketRule.DENY_ALL
ALLOW = types.RateLimitStrategy.BlanketRule.ALLOW_ALL


def table(number: int) -> rules.Table:
    limit = rules.Limit(FixedWindow(number, 1_000_000), metric="shop.user")
    return rules.Table([rules.Rule("shop", (rules.Match("user"),), (limit,))])


def report(*buckets: Mapping[str, str], domain: str = "shop") -> bytes:
    message = api.RateLimitQuotaUsageReports(domain=domain)
    for bucket in buckets:
        message.bucket_quota_usages.add(num_requests_allowed=1).bucket_id.bucket.update(bucket)
    return message.SerializeToString()


class Stream:
    """One Envoy's stream."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._call = channel.stream_stream(rlqs.METHOD)()

    async def say(self, message: bytes) -> None:
        await self._call.write(message)

    async def hear(self) -> api.RateLimitQuotaResponse:
        return api.RateLimitQuotaResponse.FromString(await self._call.read())

    async def code(self) -> grpc.StatusCode:
        return await self._call.code()

    async def done(self) -> None:
        await self._call.done_writing()
        assert await self._call.code() == grpc.StatusCode.OK

    def cancel(self) -> None:
        self._call.cancel()


@contextlib.asynccontextmanager
async def serving(quota: rlqs.Quotas) -> AsyncIterator[grpc.aio.Channel]:
    server = grpc_aio.Server(base.Settings(max_message=rlqs.LARGEST), {}, quota.streams())
    port = await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.stop(0.0)


async def test_a_report_is_answered_and_a_change_is_pushed() -> None:
    quota = rlqs.Quotas(metrics.Metrics())
    quota.load(table(100))
    async with serving(quota) as channel:
        stream = Stream(channel)
        await stream.say(report({"user": "bob"}, {"who": "x"}))
        answer = await stream.hear()
        by_name = {tuple(each.bucket_id.bucket.items()): each for each in answer.bucket_action}
        bob = by_name[(("user", "bob"),)].quota_assignment_action
        assert bob.assignment_time_to_live.seconds == 20
        bucket = bob.rate_limit_strategy.token_bucket
        assert (bucket.max_tokens, bucket.tokens_per_fill.value) == (100, 100_000)
        assert (bucket.fill_interval.seconds, bucket.fill_interval.nanos) == (1000, 4)
        unknown = by_name[(("who", "x"),)].quota_assignment_action
        assert unknown.rate_limit_strategy.blanket_rule == ALLOW
        quota.load(table(0))
        (action,) = (await stream.hear()).bucket_action
        assert action.quota_assignment_action.rate_limit_strategy.blanket_rule == DENY
        await stream.done()


async def test_assignments_are_renewed_by_the_clock() -> None:
    quota = rlqs.Quotas(metrics.Metrics(), ttl=2)
    quota.load(table(100))
    async with serving(quota) as channel:
        stream = Stream(channel)
        await stream.say(report({"user": "bob"}))
        first = await stream.hear()
        assert await stream.hear() == first
        assert await stream.hear() == first


async def test_large_reports_are_taken_and_answered_in_parts() -> None:
    quota = rlqs.Quotas(metrics.Metrics())
    quota.load(table(100))
    async with serving(quota) as channel:
        stream = Stream(channel)
        await stream.say(report(*({"user": f"user-{number:060}"} for number in range(2500))))
        answers = [len((await stream.hear()).bucket_action) for _ in range(3)]
        assert answers == [1000, 1000, 500]


@pytest.mark.parametrize("message", [b"\xff\xff", report({"user": "bob"}, domain="")])
async def test_what_is_no_report_ends_the_stream(message: bytes) -> None:
    quota = rlqs.Quotas(metrics.Metrics())
    quota.load(table(100))
    async with serving(quota) as channel:
        stream = Stream(channel)
        await stream.say(message)
        assert await stream.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_without_a_configuration_nothing_is_assigned() -> None:
    async with serving(rlqs.Quotas(metrics.Metrics())) as channel:
        assert await Stream(channel).code() == grpc.StatusCode.UNAVAILABLE


async def test_a_stream_that_is_cut_off_is_noticed() -> None:
    quota = rlqs.Quotas(metrics.Metrics())
    quota.load(table(100))
    async with serving(quota) as channel:
        first, second = Stream(channel), Stream(channel)
        await first.say(report({"user": "bob"}))
        await first.hear()
        await second.say(report({"user": "eve"}))
        await second.hear()
        assert quota.streaming == 2
        first.cancel()
        await net.until("one is left", lambda: quota.streaming == 1)
        # The same host comes again, and goes on with what it had.
        again = Stream(channel)
        await again.say(report({"user": "bob"}))
        (action,) = (await again.hear()).bucket_action
        assert (
            action.quota_assignment_action.rate_limit_strategy.token_bucket.tokens_per_fill.value == 100_000
        )


async def test_a_fault_while_reading_leaves_nothing_behind() -> None:
    """The transport's own failure to read, or ours."""
    quota = rlqs.Quotas(metrics.Metrics())
    quota.load(table(100))

    async def broken() -> AsyncIterator[bytes]:
        yield report({"user": "bob"})
        raise OSError("cut")

    stream = quota.stream(broken(), base.Peer("127.0.0.1:1"))
    with pytest.raises(OSError, match="cut"):
        async for _ in stream:
            pass
    assert quota.streaming == 0
