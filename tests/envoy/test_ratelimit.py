"""`dragoman ratelimit` behind the real Envoy, over both transports: what clients see of limits, and what
happens when Redis or a service goes away under load."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.harness import limits, net, redis
from tests.harness.backend import Backend
from tests.harness.echo import Echo, Identity
from tests.harness.envoy import Envoy

pytestmark = pytest.mark.envoy

LIMITS = """
domain: shop
descriptors:
- key: user
  rate_limit: {unit: day, requests_per_unit: 10, name: per-user}
- key: team
  rate_limit: {unit: hour, requests_per_unit: 3, name: per-team}
- key: tokens
  rate_limit: {unit: day, requests_per_unit: 100, name: tokens}
- key: paced
  rate_limit: {unit: second, requests_per_unit: 10, algorithm: leaky_bucket, burst: 5}
"""

both = pytest.mark.parametrize("transport", ["http2", "grpc"])


@asynccontextmanager
async def envoy_before(
    folder: Path, *services: limits.Service, open_on_failure: bool = False
) -> AsyncIterator[tuple[int, Envoy]]:
    """Its port, when it answers."""
    port = net.free_port()
    async with Backend(Echo(Identity("one"))) as backend:
        ports = [service.port for service in services]
        log = folder / "access.log"
        text = limits.bootstrap(port, backend.port, ports, log, open_on_failure=open_on_failure)
        async with Envoy(text, folder) as envoy:
            yield port, envoy


async def statuses(port: int, path: str, number: int, **headers: str) -> list[int]:
    """So many requests, one after the other."""
    return [(await limits.fetch(port, path, **headers)).status for _ in range(number)]


@both
async def test_what_clients_see(tmp_path: Path, envoy_binary: Path, transport: str) -> None:
    service = limits.Service(tmp_path, LIMITS, "--transport", transport, "--headers", "all", "--body")
    async with service, envoy_before(tmp_path, service) as (port, envoy):
        for left in range(9, -1, -1):
            reply = await limits.fetch(port, "/user", x_user="bob")
            assert reply.status == 200
            assert reply.headers["x-ratelimit-remaining"] == reply.headers["ratelimit-remaining"] == str(left)
            assert reply.headers["x-ratelimit-limit"] == "10"
            assert reply.headers["ratelimit-policy"] == "10;w=86400"
            assert "retry-after" not in reply.headers
        denied = await limits.fetch(port, "/user", x_user="bob")
        assert denied.status == 429
        wait = int(denied.headers["retry-after"])
        assert 0 < wait <= 86_400
        assert denied.headers["content-type"] == "application/json"
        assert json.loads(denied.body) == {
            "error": "rate_limit_exceeded",
            "message": "Too many requests. Try again later.",
            "retryAfter": wait,
            "limit": 10,
        }
        # Asked by hand it is the same count.
        status, answer = await service.decide("shop", user="bob")
        assert (status, answer["overallCode"]) == (429, "OVER_LIMIT")
        assert (await service.decide("shop", user="dan"))[0] == 200
        assert (await limits.fetch(port, "/user", x_user="eve")).status == 200
        assert (await limits.fetch(port, "/user")).status == 200  # no user, no descriptor

        # Two descriptors: the team's limit is the smaller.
        assert await statuses(port, "/two", 4, x_user="dan", x_team="red") == [200, 200, 200, 429]
        log = tmp_path / "access.log"
        await envoy.post("/reopen_logs")
        await net.until("the access log names the limits", lambda: "/two 429 per-team" in log.read_text())
        assert "/user 429 per-user" in log.read_text()
        assert await service.metric("hits_total", limit="shop.user", outcome="over") == 2
        assert await service.metric("decisions_total", domain="shop", outcome="over_limit") == 3
        assert await service.end() == 0


@both
async def test_costs_looks_and_refunds(tmp_path: Path, envoy_binary: Path, transport: str) -> None:
    service = limits.Service(tmp_path, LIMITS, "--transport", transport, "--headers", "draft")
    async with service, envoy_before(tmp_path, service) as (port, _):

        async def left(path: str, **headers: str) -> tuple[int, str]:
            reply = await limits.fetch(port, path, x_user="bob", **headers)
            return reply.status, reply.headers["ratelimit-remaining"]

        assert await left("/cost", x_cost="7") == (200, "3")
        assert [await left("/look") for _ in range(3)] == [(200, "3")] * 3
        assert await left("/cost", x_cost="3") == (200, "0")
        assert (await left("/look"))[0] == 429
        assert await left("/refund", x_cost="4") == (200, "4")
        assert await left("/refund", x_cost="400") == (200, "10")
        # A cost that is known when the work is done: asked before, charged after.
        for cost, before in (("30", "100"), ("80", "70")):
            reply = await limits.fetch(port, "/done", x_user="bob", x_cost=cost)
            assert (reply.status, reply.headers["ratelimit-remaining"]) == (200, before)

            async def charged(cost: str = cost) -> bool:
                names = ("within", "over")
                return sum(
                    [await service.metric("hits_total", limit="shop.tokens", outcome=each) for each in names]
                ) >= (30 if cost == "30" else 110)

            await net.until("the cost is charged", charged)
        assert (await limits.fetch(port, "/done", x_user="bob", x_cost="1")).status == 429


@both
async def test_a_leaky_bucket_lets_requests_go_one_by_one(
    tmp_path: Path, envoy_binary: Path, transport: str
) -> None:
    service = limits.Service(tmp_path, LIMITS, "--transport", transport)
    async with service, envoy_before(tmp_path, service) as (port, _):
        await limits.fetch(port, "/user", x_user="warm")
        loop = asyncio.get_running_loop()

        async def one() -> tuple[int, float]:
            begin = loop.time()
            reply = await limits.fetch(port, "/paced", x_user="bob")
            return reply.status, loop.time() - begin

        replies = await asyncio.gather(*(one() for _ in range(12)))
        passed = sorted(took for status, took in replies if status == 200)
        # Six where all come at once, and one more for each tenth of a second that their coming takes; the
        # exact numbers are tested where time can be told what to be.
        assert 6 <= len(passed) < 12
        assert {status for status, _ in replies} == {200, 429}
        assert passed[5] >= 0.45  # 0.5 s after the first, which came a little after `begin`


@both
async def test_two_services_on_one_redis_never_exceed_a_limit(
    tmp_path: Path, envoy_binary: Path, transport: str
) -> None:
    async with redis.Redis(tmp_path) as server:
        where = ("--transport", transport, "--store", server.url, "--store-timeout", "5")
        text = LIMITS.replace("requests_per_unit: 10,", "requests_per_unit: 50,")
        first, second = (limits.Service(tmp_path, text, *where) for _ in range(2))
        async with first, second, envoy_before(tmp_path, first, second) as (port, _):
            many = await asyncio.gather(*(statuses(port, "/user", 10, x_user="bob") for _ in range(8)))
            assert Counter(status for each in many for status in each) == {200: 50, 429: 30}
            # Both have had their part.
            parts = [
                await each.metric("decisions_total", domain="shop", outcome="ok") for each in (first, second)
            ]
            assert sum(parts) == 50
            assert all(parts)


@both
async def test_redis_killed_and_back_under_load(tmp_path: Path, envoy_binary: Path, transport: str) -> None:
    async with redis.Redis(tmp_path) as server:
        service = limits.Service(
            tmp_path, LIMITS, "--transport", transport, "--store", server.url, "--store-timeout", "0.5"
        )
        async with service, envoy_before(tmp_path, service) as (port, _):
            seen: Counter[int] = Counter()
            stop = asyncio.Event()

            async def client(number: int) -> None:
                while not stop.is_set():
                    seen[(await limits.fetch(port, "/user", x_user=f"user{number}")).status] += 1

            async def without() -> float:
                return await service.metric("decisions_without_store_total", mode="open")

            clients = [asyncio.create_task(client(number)) for number in range(4)]
            await net.until("the limit denies", lambda: seen[429] > 20)
            await server.kill()
            passed = seen[200]
            await net.until("what nobody can count passes", lambda: seen[200] > passed + 40)
            await net.until("and is counted", lambda: _more(without, 40))
            assert json.loads(await service.page("/healthz")) == {"state": "serving", "store": "away"}
            await server.start()

            async def up() -> bool:
                return json.loads(await service.page("/healthz"))["store"] == "up"

            await net.until("the connection is back", up)
            denied = seen[429]
            await net.until("the limit denies again", lambda: seen[429] > denied + 20)
            stop.set()
            await asyncio.gather(*clients)
            assert set(seen) == {200, 429}
            assert service.log.count("does not answer") == 1

            async def said() -> bool:
                await limits.fetch(port, "/look", x_user="bob")
                return service.log.count("answers again") == 1

            await net.until("the return is said", said)
            failed = [
                await service.metric("store_failures_total", reason=reason) for reason in ("down", "lost")
            ]
            assert sum(failed) == await without()


async def _more(read: object, than: float) -> bool:
    return await read() > than  # type: ignore[operator,no-any-return]


async def test_a_changed_file_is_taken_and_a_broken_one_is_not(tmp_path: Path, envoy_binary: Path) -> None:
    service = limits.Service(tmp_path, LIMITS, "--headers", "x-ratelimit")
    async with service, envoy_before(tmp_path, service) as (port, _):
        assert await statuses(port, "/user", 11, x_user="bob") == [200] * 10 + [429]
        service.file.write_text(LIMITS.replace("requests_per_unit: 10,", "requests_per_unit: many,"))

        async def refused() -> bool:
            return await service.metric("config_loads_total", outcome="refused") == 1

        await net.until("the broken file is refused", refused)
        assert (await limits.fetch(port, "/user", x_user="bob")).status == 429
        service.file.write_text(LIMITS.replace("requests_per_unit: 10,", "requests_per_unit: 15,"))

        async def changed() -> bool:
            reply = await limits.fetch(port, "/look", x_user="eve")
            return reply.headers["x-ratelimit-limit"] == "15"

        await net.until("the change is taken", changed)
        # What was counted counts on: twelve, with those that were denied.
        assert await statuses(port, "/user", 4, x_user="bob") == [200, 200, 200, 429]


async def test_one_of_two_services_ends_under_load_and_nobody_notices(
    tmp_path: Path, envoy_binary: Path
) -> None:
    first, second = (limits.Service(tmp_path, LIMITS, "--grace", "2") for _ in range(2))
    async with first, second, envoy_before(tmp_path, first, second) as (port, _):
        seen: Counter[int] = Counter()
        stop = asyncio.Event()

        async def client() -> None:
            while not stop.is_set():
                seen[(await limits.fetch(port, "/look", x_user="bob")).status] += 1

        async def served() -> float:
            return await second.metric("decisions_total", domain="shop", outcome="ok")

        clients = [asyncio.create_task(client()) for _ in range(4)]
        await net.until("requests pass", lambda: seen[200] > 50)
        assert await first.end() == 0
        before = await served()
        await net.until("the other one serves all", lambda: _more(served, before + 50))
        stop.set()
        await asyncio.gather(*clients)
        assert set(seen) == {200}


@both
async def test_the_service_is_killed_under_load_and_envoy_fails_open(
    tmp_path: Path, envoy_binary: Path, transport: str
) -> None:
    """No request fails while nobody can be asked; what passes so is counted; limits are back afterwards."""
    service = limits.Service(tmp_path, LIMITS, "--transport", transport)
    async with service, envoy_before(tmp_path, service, open_on_failure=True) as (port, envoy):
        seen: Counter[int] = Counter()
        stop = asyncio.Event()

        async def client(number: int) -> None:
            while not stop.is_set():
                seen[(await limits.fetch(port, "/user", x_user=f"user{number}")).status] += 1

        async def allowed() -> int:
            name = "cluster.backend.ratelimit.failure_mode_allowed"
            return (await envoy.stats(name)).get(name, 0)

        clients = [asyncio.create_task(client(number)) for number in range(4)]
        await net.until("the limit denies", lambda: seen[429] > 20)
        assert await allowed() == 0
        await service.kill()
        passed = seen[200]
        await net.until("what nobody can be asked about passes", lambda: seen[200] > passed + 40)
        assert await allowed() >= 40
        await service.start()  # with empty counts
        denied = seen[429]
        await net.until("the limit denies again", lambda: seen[429] > denied + 20)
        counted = await allowed()
        more = seen[429]
        await net.until("and goes on to", lambda: seen[429] > more + 20)
        assert await allowed() == counted
        stop.set()
        await asyncio.gather(*clients)
        assert set(seen) == {200, 429}


async def test_the_service_is_killed_and_envoy_fails_closed(tmp_path: Path, envoy_binary: Path) -> None:
    service = limits.Service(tmp_path, LIMITS)
    async with service, envoy_before(tmp_path, service) as (port, _):
        assert await statuses(port, "/user", 3, x_user="bob") == [200] * 3
        await service.kill()

        async def closed() -> bool:
            return (await statuses(port, "/user", 3, x_user="bob")) == [500] * 3

        await net.until("nothing passes", closed)


async def test_redis_is_killed_and_envoy_fails_closed(tmp_path: Path, envoy_binary: Path) -> None:
    """As with the Go service it is Envoy's filter that says what happens then."""
    async with redis.Redis(tmp_path) as server:
        options = ("--store", server.url, "--store-timeout", "4", "--on-error", "fail")
        service = limits.Service(tmp_path, LIMITS, *options)
        async with service, envoy_before(tmp_path, service) as (port, _):
            assert await statuses(port, "/user", 2, x_user="bob") == [200] * 2
            await server.kill()

            async def gives(status: int) -> bool:
                return (await statuses(port, "/user", 3, x_user="bob")) == [status] * 3

            await net.until("nothing passes", lambda: gives(500))
            assert await service.metric("decisions_total", domain="shop", outcome="error") >= 3
            await server.start()
            await net.until("Redis counts again", lambda: gives(200))
