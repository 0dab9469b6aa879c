"""The real Envoy as client, in both forms. Its own statistics are the oracle."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dragoman.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE
from dragoman.xds.ledger import Status
from tests.harness import net
from tests.harness.envoy import Envoy, grpc_cluster
from tests.wire import plane

pytestmark = [pytest.mark.envoy, pytest.mark.usefixtures("envoy_binary")]

FORMS = pytest.mark.parametrize("api", ["DELTA_GRPC", "GRPC"])


def bootstrap(api: str, port: int, admin: int) -> dict[str, Any]:
    source = {
        "api_type": api,
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
    }
    return {
        "node": {"id": "envoy-1", "cluster": "shop/edge"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}},
        "dynamic_resources": {"ads_config": source, "cds_config": plane.ADS, "lds_config": plane.ADS},
        "static_resources": {"clusters": [grpc_cluster(port)]},
    }


@contextlib.asynccontextmanager
async def backend(text: str) -> AsyncIterator[int]:
    """Answers every HTTP/1.1 request with `text`."""
    reply = f"HTTP/1.1 200 OK\r\ncontent-length: {len(text)}\r\n\r\n{text}".encode()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(reply)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def fetch(port: int) -> str:
    """Body, or status where it is not 200."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as response:
            return str(response.read().decode())
    except urllib.error.HTTPError as answer:
        return str(answer.code)


@dataclass
class World:
    running: plane.Plane
    envoy: Envoy
    port: int
    one: int
    two: int

    async def get(self) -> str:
        return await asyncio.to_thread(fetch, self.port)

    async def until(self, text: str) -> None:
        async def there() -> bool:
            return await self.get() == text

        await net.until(f"an answer from {text}", there)

    async def quiet(self) -> None:
        """Every type ACKed, nothing pending."""
        await net.until("quiet", lambda: is_quiet(self.running))

    async def check(self) -> None:
        """Nothing was rejected, nothing is warming, nothing timed out."""
        stats = await self.envoy.stats(
            "update_rejected|warming_clusters|listeners_warming|init_fetch_timeout"
        )
        assert stats
        assert {name: value for name, value in stats.items() if value} == {}


def is_quiet(running: plane.Plane) -> bool:
    streams = running.ledger.streams()
    return bool(streams) and all(
        sub.flight is None and not sub.dirty
        for stream in streams
        if stream.session
        for sub in stream.session.streams.values()
    )


@pytest.fixture
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    port = net.free_port()
    async with contextlib.AsyncExitStack() as stack:
        one = await stack.enter_async_context(backend("one"))
        two = await stack.enter_async_context(backend("two"))
        running = await stack.enter_async_context(
            plane.plane(
                plane.cluster("a"),
                plane.endpoints("a", one),
                plane.route("r", "a"),
                plane.listener("l", port, "r"),
            )
        )
        config = bootstrap(request.param, running.port, net.free_port())
        envoy = await stack.enter_async_context(Envoy(config, tmp_path))
        made = World(running, envoy, port, one, two)
        await made.until("one")
        yield made


BOTH = pytest.mark.parametrize("world", ["DELTA_GRPC", "GRPC"], indirect=True)


@BOTH
async def test_envoy_is_served_and_everything_acked(world: World) -> None:
    await world.quiet()
    [proxy] = world.running.ledger.proxies()
    assert proxy.status is Status.SYNCED
    assert set(proxy.types) == {CLUSTER, ENDPOINT, LISTENER, ROUTE}
    assert proxy.node.id == "envoy-1"
    assert proxy.node.version.startswith("1.40")
    await world.check()


@BOTH
async def test_rule_65_a_backend_is_changed_without_a_failed_request(world: World) -> None:
    seen: list[str] = []
    stop = asyncio.Event()

    async def load() -> None:
        while not stop.is_set():
            seen.append(await world.get())

    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(load())
        names = ["a", "b", "a", "c", "a"]
        for old, new in itertools.pairwise(names):
            target = world.one if new == "a" else world.two
            plane.put(
                world.running.view,
                plane.cluster(new),
                plane.endpoints(new, target),
                plane.route("r", new),
                gone=[(CLUSTER, old), (ENDPOINT, old)],
            )
            await world.until("one" if new == "a" else "two")
            await world.quiet()
            config = await world.envoy.stats("cluster_manager.active_clusters")
            assert config == {"cluster_manager.active_clusters": 2}  # the new one and that of xDS
        stop.set()
    assert set(seen) == {"one", "two"}
    await world.check()


@BOTH
async def test_rule_61_a_route_to_a_new_dns_cluster_waits_for_its_name(world: World) -> None:
    """Envoy warms clusters with host names as well; a route that came with the cluster would find none."""
    seen: list[str] = []
    old = "a"
    for number in range(6):
        new, wanted, target = f"dns-{number}", ("two", "one")[number % 2], (world.two, world.one)[number % 2]
        plane.put(
            world.running.view,
            plane.cluster(new, dns=("localhost", target)),
            plane.route("r", new),
            gone=[(CLUSTER, old)],
        )
        old = new
        while seen[-1:] != [wanted]:
            seen.append(await world.get())
        await world.quiet()
    assert set(seen) == {"one", "two"}
    await world.check()


@BOTH
async def test_rule_62_a_cluster_change_is_not_stalled_by_warming(world: World) -> None:
    await world.quiet()
    for number in range(2, 6):
        plane.put(world.running.view, plane.cluster("a", timeout=f"{number}s"))
        await world.quiet()
    await world.check()
    assert (await world.envoy.stats("assignment_use_cached")).get("cluster.a.assignment_use_cached", 0) == 0


@BOTH
async def test_rule_70_a_cluster_without_endpoints_answers_503_at_once(world: World) -> None:
    plane.put(world.running.view, plane.cluster("b"), plane.endpoints("b"), plane.route("r", "b"))
    await world.until("503")
    await world.quiet()
    plane.put(world.running.view, plane.endpoints("b", world.two))
    await world.until("two")
    await world.check()


@BOTH
async def test_listeners_and_routes_come_and_go(world: World) -> None:
    port = net.free_port()
    plane.put(world.running.view, plane.listener("m", port, "s"), plane.route("s", "a"))

    async def there() -> bool:
        return await asyncio.to_thread(fetch, port) == "one"

    await net.until("the new listener", there)
    await world.quiet()
    plane.put(world.running.view, gone=[(LISTENER, "m"), (ROUTE, "s")])
    await world.quiet()
    await net.until("the listener is gone", lambda: refused(port))
    assert await world.get() == "one"
    await world.check()


def refused(port: int) -> bool:
    try:
        fetch(port)
    except OSError:
        return True
    return False


@BOTH
async def test_rules_72_and_66_a_nack_is_reported_once_and_costs_no_request(world: World) -> None:
    rejections: list[Any] = []
    world.running.ledger.on_rejection(rejections.append)
    await world.quiet()
    plane.put(
        world.running.view,
        plane.cluster("b"),
        plane.endpoints("b", world.two),
        plane.route("r", "b", timeout="-5s"),
        gone=[(CLUSTER, "a"), (ENDPOINT, "a")],
    )
    await net.until("the NACK", lambda: rejections)
    for _ in range(50):
        assert await world.get() == "one"
    assert len(rejections) == 1
    assert rejections[0].type_url == ROUTE
    assert rejections[0].names == ("r",)
    assert rejections[0].node == "envoy-1"
    plane.put(world.running.view, plane.route("r", "b"))
    await world.until("two")
    await world.quiet()
    assert (await world.envoy.stats("active_clusters"))["cluster_manager.active_clusters"] == 2


@FORMS
async def test_rules_22_41_and_42_a_restarted_server_sends_nothing(api: str, tmp_path: Path) -> None:
    """Nothing changed: in delta nothing comes at all, in SotW only the answers that named types must have."""
    port, xds = net.free_port(), net.free_port()
    async with backend("one") as one:
        resources = [
            plane.cluster("a"),
            plane.endpoints("a", one),
            plane.route("r", "a"),
            plane.listener("l", port, "r"),
        ]
        async with contextlib.AsyncExitStack() as stack:
            async with plane.plane(*resources, port=xds) as first:
                envoy = Envoy(bootstrap(api, first.port, net.free_port()), tmp_path)
                await stack.enter_async_context(envoy)
                await net.until("served", lambda: is_quiet(first))
                assert await asyncio.to_thread(fetch, port) == "one"
            updates = await envoy.stats("(cds|lds).update_success")
            async with plane.plane(*resources, port=xds) as second:
                await net.until("back", lambda: second.ledger.proxies() and len(types(second)) == 4)
                await net.until("quiet", lambda: is_quiet(second))
                assert await asyncio.to_thread(fetch, port) == "one"
                sent = {t for t, state in types(second).items() if state.responses}
                assert sent == (set() if api == "DELTA_GRPC" else {ENDPOINT, ROUTE})
                assert await envoy.stats("(cds|lds).update_success") == updates
                plane.put(second.view, plane.route("r", "a", timeout="3s"))
                await net.until("a change", lambda: types(second)[ROUTE].acks)


def types(running: plane.Plane) -> dict[str, Any]:
    return dict(running.ledger.proxies()[0].types)
