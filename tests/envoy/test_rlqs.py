"""Quotas through the real Envoy: what it lets pass without asking, two Envoys on one limit, and what happens
when the service is gone. Rates are told from counts over seconds, with generous bounds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dragoman.ratelimit import metrics, rules
from dragoman.ratelimit.algorithms import TokenBucket
from dragoman.ratelimit.rlqs import service as rlqs
from dragoman.ratelimit.transport import base, grpc_aio
from tests.harness import limits, net, quotas
from tests.harness.envoy import Envoy
from tests.harness.quotas import Client

pytestmark = pytest.mark.envoy

LIMITS = """
domain: shop
descriptors:
- key: name
  value: per-user
  descriptors:
  - key: user
    rate_limit: {unit: second, requests_per_unit: 100, name: per-user}
"""


def table(rate: int, burst: int = 10) -> rules.Table:
    limit = rules.Limit(TokenBucket(rate, 1_000_000, burst), metric="shop.per-user")
    return rules.Table([rules.Rule("shop", (rules.Match("name", "per-user"), rules.Match("user")), (limit,))])


@contextlib.asynccontextmanager
async def serving(quota: rlqs.Quotas, port: int = 0) -> AsyncIterator[int]:
    """The service in this process; its port."""
    server = grpc_aio.Server(base.Settings(port=port), {}, quota.streams())
    found = await server.start()
    try:
        yield found
    finally:
        await server.stop(0.0)


def folder(path: Path, name: str) -> Path:
    made = path / name
    made.mkdir()
    return made


async def test_a_rate_is_kept_without_asking(tmp_path: Path, envoy_binary: Path) -> None:
    """`dragoman ratelimit` as users run it. The burst is used up before the count begins."""
    streams = net.free_port()
    service = limits.Service(tmp_path, LIMITS, "--streams", f"127.0.0.1:{streams}")
    port = net.free_port()
    async with service, Envoy(quotas.bootstrap(port, streams), tmp_path) as envoy:
        async with Client(port, "u1") as client:
            await net.until("requests are denied", lambda: client.seen[429] > 50)
            passed, seconds = await client.passed(6)
            assert 0.6 * 100 * seconds < passed < 1.3 * 100 * seconds + 5
            async with Client(port, "u2") as other:
                await net.until("another bucket begins full", lambda: other.seen[200] > 80)
                await net.until("and ends", lambda: other.seen[429] > 20)
            async with Client(port, "nobody") as free:
                await net.until("others are not limited", lambda: free.seen[200] > 200)
                assert not free.seen[429]

            async def counted() -> bool:
                counts = [
                    await service.metric("hits_total", limit="shop.name_per-user.user", outcome=each)
                    for each in ("within", "over")
                ]
                return counts[0] >= passed and counts[1] > 50

            await net.until("what was reported is counted", counted)
        # A handful of messages for thousands of requests: Envoy does not ask.
        stats = await envoy.stats("cluster.rlqs.upstream_rq_total|http.http.downstream_rq_2xx")
        assert stats["cluster.rlqs.upstream_rq_total"] == 1
        assert await service.end() == 0


async def test_two_envoys_share_a_limit_by_demand(tmp_path: Path, envoy_binary: Path) -> None:
    quota = rlqs.Quotas(metrics.Metrics())
    quota.load(table(200))
    ports = [net.free_port(), net.free_port()]
    async with serving(quota) as service:
        one = Envoy(quotas.bootstrap(ports[0], service), folder(tmp_path, "one"))
        two = Envoy(quotas.bootstrap(ports[1], service), folder(tmp_path, "two"))
        async with one, two, Client(ports[0], "u1", connections=6, pause=0.004) as first:
            await net.until("the limit denies", lambda: first.seen[429] > 50)
            alone, seconds = await first.passed(2)
            assert 0.6 * 200 * seconds < alone < 1.3 * 200 * seconds + 15
            # The newcomer asks for a third of what the other does: half of the limit at first, then a fourth.
            async with Client(ports[1], "u1", connections=2, pause=0.004) as second:
                await net.until("the newcomer gets through", lambda: second.seen[200] > 20)
                await net.until("the newcomer is denied", lambda: second.seen[429] > 20)
                (a, seconds), (b, _) = await asyncio.gather(first.passed(3), second.passed(3))
                assert 0.6 * 200 * seconds < a + b < 1.35 * 200 * seconds + 30
                assert a > 0.25 * 200 * seconds
                assert b > 0.25 * 200 * seconds

                async def shared() -> bool:
                    more, seconds = await first.passed(2)
                    return more > 0.62 * 200 * seconds

                await net.until("what it does not need goes back", shared, limit=40)
                (a, seconds), (b, _) = await asyncio.gather(first.passed(3), second.passed(3))
                assert a + b < 1.35 * 200 * seconds + 30
                assert 0.1 * 200 * seconds < b < a
            # It goes quiet, and its Envoy ends: all is the other's when what it had has ended.
            await two.stop()

            async def everything() -> bool:
                more, seconds = await first.passed(2)
                return more > 0.85 * 200 * seconds

            await net.until("nobody else has a part", everything, limit=60)


async def test_a_changed_limit_is_taken_at_once(tmp_path: Path, envoy_binary: Path) -> None:
    """400/s and 40/s with one burst differ in the seconds of the interval alone, which Envoy does not see."""
    quota = rlqs.Quotas(metrics.Metrics())
    quota.load(table(400))
    port = net.free_port()
    async with (
        serving(quota) as service,
        Envoy(quotas.bootstrap(port, service), tmp_path),
        Client(port, "u1") as client,
    ):
        await net.until("the limit denies", lambda: client.seen[429] > 20)
        quota.load(table(40))

        async def at_most(rate: float) -> bool:
            passed, seconds = await client.passed(1)
            return passed <= rate * seconds

        await net.until("the lower number", lambda: at_most(1.5 * 40))
        slow, seconds = await client.passed(4)
        assert 0.5 * 40 * seconds < slow < 1.5 * 40 * seconds
        quota.load(table(0))
        await net.until("nothing passes", lambda: at_most(0))
        quota.load(rules.Table())
        await net.until("no limit, no denials", lambda: client.seen[200] > 1000)


async def test_envoy_crashes_on_a_token_bucket_before_the_first_assignment(
    tmp_path: Path, envoy_binary: Path
) -> None:
    """Why `ir.quota` refuses it. When this fails, Envoy has learnt it."""
    bucket = {"token_bucket": {"max_tokens": 5, "tokens_per_fill": 5, "fill_interval": "1s"}}
    port = net.free_port()
    async with Envoy(quotas.bootstrap(port, net.free_port(), unassigned=bucket), tmp_path) as envoy:

        async def gone() -> bool:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await limits.fetch(port, "/", x_user="u1")
            return not envoy.running()

        await net.until("Envoy has ended", gone)


@pytest.mark.parametrize(
    "expired",
    [
        {"reuse_last_assignment": {}, "seconds": 60},
        {"token_bucket": {"max_tokens": 5, "tokens_per_fill": 5, "fill_interval": "0.5s"}, "seconds": 60},
        {"requests_per_time_unit": {"requests_per_time_unit": 5, "time_unit": "SECOND"}, "seconds": 60},
    ],
    ids=["reuse", "half-second", "per-unit"],
)
async def test_envoy_lets_everything_pass(tmp_path: Path, envoy_binary: Path, expired: quotas.Json) -> None:
    """Why `ir.quota` refuses these."""
    quota = rlqs.Quotas(metrics.Metrics(), ttl=2)
    quota.load(table(0))
    port = net.free_port()
    async with contextlib.AsyncExitStack() as stack:
        gone = await stack.enter_async_context(contextlib.AsyncExitStack())
        service = await gone.enter_async_context(serving(quota))
        await stack.enter_async_context(Envoy(quotas.bootstrap(port, service, expired=expired), tmp_path))
        client = await stack.enter_async_context(Client(port, "u1"))
        await net.until("all is denied", lambda: client.seen[429] > 50)
        await gone.aclose()
        before = client.seen[200]
        await net.until("all passes", lambda: client.seen[200] > before + 500)


@pytest.mark.parametrize(
    ("expired", "passes"),
    [
        ({**quotas.DENY, "seconds": 60}, 0),
        (
            {
                "token_bucket": {"max_tokens": 5, "tokens_per_fill": 20, "fill_interval": "1s"},
                "seconds": 60,
            },
            20,
        ),
        (None, 1_000_000),
    ],
    ids=["deny", "bucket", "open"],
)
async def test_the_service_goes_and_comes_back(
    tmp_path: Path, envoy_binary: Path, expired: quotas.Json | None, passes: int
) -> None:
    """At first nothing changes; when the assignment has ended, Envoy does what it was told for that."""
    quota = rlqs.Quotas(metrics.Metrics(), ttl=3)
    quota.load(table(200))
    port = net.free_port()
    async with contextlib.AsyncExitStack() as stack:
        gone = await stack.enter_async_context(contextlib.AsyncExitStack())
        service = await gone.enter_async_context(serving(quota))
        await stack.enter_async_context(Envoy(quotas.bootstrap(port, service, expired=expired), tmp_path))
        client = await stack.enter_async_context(Client(port, "u1"))
        await net.until("the limit denies", lambda: client.seen[429] > 50)
        passed, seconds = await client.passed(4)  # longer than an assignment: it is renewed without reports
        assert 0.6 * 200 * seconds < passed < 1.3 * 200 * seconds + 15
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await gone.aclose()
        held, seconds = await client.passed(1)
        if loop.time() - begun < 2:  # what is left of an assignment
            assert 0.5 * 200 * seconds < held < 1.4 * 200 * seconds + 15

        async def ended() -> bool:
            alone, seconds = await client.passed(2)
            if passes > 1000:
                return alone > 2 * 200 * seconds
            return 0.5 * passes * seconds <= alone <= 1.5 * passes * seconds + 5

        await net.until("the assignment has ended", ended)
        assert await ended()
        again = rlqs.Quotas(metrics.Metrics(), ttl=3)
        again.load(table(200))
        await stack.enter_async_context(serving(again, service))

        async def governed() -> bool:
            passed, seconds = await client.passed(1)
            return 0.6 * 200 * seconds < passed < 1.3 * 200 * seconds + 15

        await net.until("the limit is back", governed, limit=40)
