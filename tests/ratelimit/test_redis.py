"""The store in Redis as it is in production: its clock, its failures, and many who share it."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dragoman.ratelimit import rules
from dragoman.ratelimit.algorithms import (
    Algorithm,
    FixedWindow,
    LeakyBucket,
    SlidingCounter,
    SlidingLog,
    TokenBucket,
)
from dragoman.ratelimit.stores import guard
from dragoman.ratelimit.stores.redis import cluster, store as stores
from dragoman.redis import url
from tests.harness import net, redis
from tests.harness.certs import Authority
from tests.ratelimit.asking import ask, take

SECOND = 1_000_000
DAY = 86_400 * SECOND

Store = cluster.Cluster | stores.Single


@asynccontextmanager
async def connected(where: str, patience: float = 5.0, prefix: str = "") -> AsyncIterator[Store]:
    """Patient: the machine is shared, and what is slow is not what is tested."""
    store = cluster.connect(url.parse(where), patience, prefix or secrets.token_hex(4))
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


ALL: list[Algorithm] = [
    FixedWindow(100, DAY),
    SlidingCounter(100, DAY),
    SlidingLog(100, DAY),
    TokenBucket(100, DAY),
    LeakyBucket(100, DAY, 99, nodelay=True),
]
"""A hundred, and nothing that comes back while a test runs (a day of refill for one hit)."""


@pytest.mark.parametrize("algorithm", ALL, ids=lambda each: each.name)
async def test_eight_clients_of_two_stores_never_exceed_a_limit(
    own: redis.Redis, algorithm: Algorithm
) -> None:
    async with connected(own.url, prefix="x") as first, connected(own.url, prefix="x") as second:

        async def client(store: Store, hits: int) -> int:
            passed = 0
            for _ in range(60):
                (decision,) = await take(store, ask(algorithm, "k", hits))
                assert decision is not None
                passed += hits * decision.allowed
            return passed

        passed = await asyncio.gather(
            *(client(store, hits) for store in (first, second) for hits in (1, 1, 2, 3))
        )
        assert sum(passed) in (99, 100)
        (last,) = await take(first, ask(algorithm, "k", 0))
        assert last is not None
        assert last.used == sum(passed)
        assert last.remaining == 100 - sum(passed)


async def test_the_refill_comes_at_the_rate_and_not_faster(own: redis.Redis) -> None:
    """By Redis' clock: what passes in a stretch of time is within the promise, whatever the machine does."""
    bucket = TokenBucket(200, SECOND, 20)
    async with connected(own.url) as store:

        async def time() -> int:
            seconds, micros = await own.call("TIME")
            return int(seconds) * SECOND + int(micros)

        begin, passed = await time(), 0
        for _ in range(150):
            decisions = await take(store, *[ask(bucket, "k")] * 4)
            passed += sum(each.allowed for each in decisions if each is not None)
            await asyncio.sleep(0.002)
        elapsed = await time() - begin
        assert passed <= 20 + elapsed * 200 / SECOND + 1
        assert passed > 20  # it does refill; how much is lost to a full bucket depends on the machine


async def test_all_of_a_turn_is_one_write(own: redis.Redis) -> None:
    async with connected(own.url) as store:
        writes: list[int] = []
        link = store._server.link  # type: ignore[union-attr]
        transport = link._connection._transport  # type: ignore[union-attr]
        write = transport.write  # type: ignore[union-attr]

        class Spy:
            def __getattr__(self, name: str) -> object:
                return getattr(transport, name)

            def write(self, data: bytes) -> None:
                writes.append(len(data))
                write(data)

        link._connection._transport = Spy()  # type: ignore[assignment,union-attr]
        await asyncio.gather(*(take(store, ask(FixedWindow(10, DAY), str(number))) for number in range(50)))
        assert len(writes) == 1
        link._connection._transport = transport  # type: ignore[union-attr]


async def test_a_redis_that_has_lost_the_scripts_gets_them_again(own: redis.Redis) -> None:
    async with connected(own.url) as store:
        await own.call("SCRIPT", "FLUSH")
        asks = [ask(algorithm, algorithm.name) for algorithm in ALL]
        decisions = await take(store, *asks, *asks)
        assert [each.remaining for each in decisions if each is not None] == [99] * 5 + [98] * 5
        assert store.failures == Counter()


async def test_every_way_in(tmp_path: Path) -> None:
    authority = Authority()
    pair = authority.issue("127.0.0.1")
    files = tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem"
    for file, text in zip(files, (authority.pem, pair.certificate, pair.key), strict=True):
        file.write_text(text)
    servers = [
        redis.Redis(tmp_path, password="a:b@c/%"),
        redis.Redis(tmp_path, socket=True),
        redis.Redis(tmp_path, tls=files, password="secret"),
    ]
    servers[0].password = "a%3Ab%40c%2F%25"
    for server in servers:
        async with server, connected(server.url) as store:
            (decision,) = await take(store, ask(FixedWindow(3, DAY), "k"))
            assert decision is not None
            assert decision.remaining == 2
    async with servers[0]:
        password = tmp_path / "password"
        password.write_text("a:b@c/%\n")
        where = f"redis://127.0.0.1:{servers[0].port}/2?password_file={password}"
        async with connected(where) as store:
            assert store.healthy()
        async with connected(f"redis://:wrong@127.0.0.1:{servers[0].port}") as store:
            assert not store.healthy()
            assert store.trouble == "AUTH: WRONGPASS"


async def test_redis_killed_and_back_and_what_limits_do_meanwhile(own: redis.Redis) -> None:
    modes = {mode: ask(FixedWindow(5, DAY), mode.value, 1, mode) for mode in rules.OnError}
    async with connected(own.url) as store:
        guarded = guard.Guard(store)
        assert [each and each.remaining for each in await take(guarded, *modes.values())] == [4] * 4
        await own.kill()
        await net.until("the loss is noticed", lambda: not guarded.healthy())
        passed: Counter[rules.OnError] = Counter()
        for _ in range(10):
            decisions = await take(guarded, *modes.values())
            for mode, decision in zip(modes, decisions, strict=True):
                assert decision is not None
                passed[mode] += decision.allowed
        denying = dict.fromkeys((rules.OnError.CLOSED, rules.OnError.FAIL), 0)
        assert passed == {rules.OnError.OPEN: 10, rules.OnError.LOCAL: 5, **denying}
        assert guarded.away
        assert store.failures["down"] == 40
        assert guarded.without == dict.fromkeys(rules.OnError, 10)
        await own.start()
        await net.until("the connection is back", guarded.healthy)
        assert [each and each.remaining for each in await take(guarded, *modes.values())] == [4] * 4


async def test_the_loss_is_said_once(own: redis.Redis, caplog: pytest.LogCaptureFixture) -> None:
    async with connected(own.url) as store:
        guarded = guard.Guard(store)
        await own.kill()
        await net.until("the loss is noticed", lambda: not guarded.healthy())
        caplog.set_level("INFO")
        for _ in range(100):
            await take(guarded, ask(FixedWindow(5, DAY), "k"))
        await own.start()
        await net.until("the connection is back", guarded.healthy)

        async def back() -> bool:
            await take(guarded, ask(FixedWindow(5000, DAY), "k"))
            return not guarded.away

        await net.until("the store counts as back", back)
        levels = [record.levelname for record in caplog.records if record.name.startswith("dragoman")]
        assert levels == ["WARNING", "INFO"]


async def test_a_redis_that_says_nothing_is_given_up_in_time_and_found_again(own: redis.Redis) -> None:
    async with connected(own.url, patience=0.2) as store:
        own.freeze()
        try:
            decisions = await asyncio.gather(*(take(store, ask(FixedWindow(5, DAY), "k")) for _ in range(20)))
            assert decisions == [[None]] * 20
            # So much silence, and the connection is taken for dead: nobody waits any more.
            while store.healthy():
                assert await take(store, ask(FixedWindow(5, DAY), "k")) == [None]
            before = store.failures["down"]
            assert await take(store, ask(FixedWindow(5, DAY), "k")) == [None]
            assert store.failures["down"] == before + 1
        finally:
            own.thaw()
        await net.until("the connection is back", store.healthy)
        (decision,) = await take(store, ask(FixedWindow(5000, DAY), "other"))
        assert decision is not None


async def test_late_answers_go_to_nobody(own: redis.Redis) -> None:
    async with connected(own.url, patience=0.2) as store:
        own.freeze()
        assert await take(store, ask(FixedWindow(5, DAY), "k", 3)) == [None]
        own.thaw()
        asks = [ask(FixedWindow(100, DAY), str(number), number) for number in range(1, 30)]
        await net.until("Redis answers", lambda: store.failures["lost"] and _right(store, asks))


async def _right(store: Store, asks: list) -> bool:  # type: ignore[type-arg]
    """Whether all answers are there, each for its own ask."""
    decisions = await take(store, *asks)
    if None in decisions:
        return False
    numbers = [each.used / one.hits for each, one in zip(decisions, asks, strict=True) if each is not None]
    assert len(set(numbers)) == 1
    return True


async def test_a_script_that_redis_refuses_is_no_decision(own: redis.Redis) -> None:
    async with connected(own.url) as store:
        await own.call("CONFIG", "SET", "maxmemory", "1")
        assert await take(store, ask(FixedWindow(5, DAY), "k")) == [None]
        assert store.failures["error"] == 1
        await own.call("CONFIG", "SET", "maxmemory", "0")
        (decision,) = await take(store, ask(FixedWindow(5, DAY), "k"))
        assert decision is not None


async def test_sentinel_and_a_failover(tmp_path: Path) -> None:
    async with redis.Watched(tmp_path) as watched, connected(watched.url) as store:
        bucket = FixedWindow(1000, DAY)
        (decision,) = await take(store, ask(bucket, "k", 10))
        assert decision is not None
        assert await watched.first.call("WAIT", 1, 5000) >= 0
        await net.until("replicated", lambda: _has_a_key(watched.second))
        await watched.first.kill()

        async def counted() -> bool:
            (decision,) = await take(store, ask(bucket, "k"))
            return decision is not None and decision.used > 10

        await net.until("the new master counts on", counted, limit=40)
        # The old one comes back as a replica; a write there would be refused and is not tried.
        await watched.first.start()
        (decision,) = await take(store, ask(bucket, "k"))
        assert decision is not None


async def _has_a_key(server: redis.Redis) -> bool:
    return bool(await server.call("DBSIZE") == 1)


async def test_a_master_that_became_a_replica_is_left(tmp_path: Path) -> None:
    async with redis.Watched(tmp_path) as watched, connected(watched.url) as store:
        bucket = FixedWindow(1000, DAY)
        await take(store, ask(bucket, "k"))
        assert await watched.sentinel.call("SENTINEL", "FAILOVER", "mymaster") == b"OK"

        async def moved() -> bool:
            (decision,) = await take(store, ask(bucket, "k"))
            link = store._server.link  # type: ignore[union-attr]
            connection = link._connection
            if decision is None or connection is None:
                return False
            peer = connection._transport.get_extra_info("peername")
            return bool(peer[1] == watched.second.port)

        await net.until("the new master is used", moved, limit=40)


async def test_a_cluster_counts_each_key_where_its_slot_is(tmp_path: Path) -> None:
    async with redis.Cluster(tmp_path) as there, connected(there.url) as store:
        bucket = FixedWindow(1000, DAY)
        asks = [ask(bucket, f"key{number}") for number in range(100)]
        decisions = await take(store, *asks)
        assert [each and each.used for each in decisions] == [1] * 100
        sizes = [await node.call("DBSIZE") for node in there.nodes]
        assert sum(sizes) == 100
        assert all(sizes)
        assert store.failures == Counter()


async def test_a_slot_that_moves_loses_no_count(tmp_path: Path) -> None:
    async with redis.Cluster(tmp_path) as there, connected(there.url) as store:
        bucket = FixedWindow(1000, DAY)
        one = ask(bucket, "moving")
        await take(store, one)
        here, target = await there.begin_move(one.slot)
        (decision,) = await take(store, one)  # it is there still
        assert decision is not None
        assert decision.used == 2
        (key,) = await here.call("CLUSTER", "GETKEYSINSLOT", one.slot, 10)
        await here.call("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)

        async def asked(used: int) -> bool:
            """By ASK, to a node that may have to be connected to first."""
            (decision,) = await take(store, one)
            assert decision is None or decision.used >= used
            return decision is not None

        await net.until("ASK is followed", lambda: asked(3))
        await there.end_move(one.slot, here, target)
        await net.until("MOVED is followed", lambda: asked(4))
        await net.until("the map is new", lambda: _linked(store, one.slot, target.port))
        assert store.failures["error"] == 0


def _linked(store: Store, slot: int, port: int) -> bool:
    assert isinstance(store, cluster.Cluster)
    link = store.nodes.link(slot)
    return link is store.nodes._links.get(url.Address("127.0.0.1", port))


async def test_a_master_of_a_cluster_that_is_away_costs_its_keys_only(tmp_path: Path) -> None:
    async with redis.Cluster(tmp_path) as there, connected(there.url) as store:
        for node in there.nodes:
            await node.call("CONFIG", "SET", "cluster-require-full-coverage", "no")
        bucket = FixedWindow(1000, DAY)
        asks = [ask(bucket, f"key{number}") for number in range(60)]
        await take(store, *asks)
        gone = there.nodes[2]
        await gone.kill()
        await net.until("the loss is noticed", lambda: not store.healthy())
        decisions = await take(store, *asks)
        for one, decision in zip(asks, decisions, strict=True):
            assert (decision is None) == (one.slot >= 2 * (16384 // 3 + 1))
        await gone.start()
        await net.until("it is back", store.healthy)
