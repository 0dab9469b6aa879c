"""Connection managers beside their filter chains (ECDS) and a real Envoy: which comes first, and what a
refused one costs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dragoman import proto, resource
from dragoman.document import Document
from dragoman.graph.pipeline import Pipeline
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.config.listener import v3 as listeners
from dragoman.resource import EXTENSION, LISTENER, ROUTE, Resource
from dragoman.xds.types import Rejection
from tests.harness import certs, manifests, net
from tests.harness.envoy import Envoy
from tests.property import chaos
from tests.wire import plane
from tests.wire.test_envoy import backend, bootstrap, fetch, is_quiet

pytestmark = [pytest.mark.envoy, pytest.mark.usefixtures("envoy_binary")]

FORMS = pytest.mark.parametrize("api", ["DELTA_GRPC", "GRPC"])
BAD = {"request_headers_timeout": "-5s"}


def manager(name: str, table: str, **more: Any) -> Resource:
    config = plane.manager(table) | more
    body = {"name": name, "typed_config": config}
    return resource.make(
        EXTENSION, name, proto.serialize(proto.from_dict(core.TypedExtensionConfig, body)), {}
    )


def listener(name: str, port: int, made_for: Resource, table: str) -> Resource:
    """As `envoy.listeners` does it: the chain names the manager, and the version that it was made for."""
    discovered = {"config_source": plane.ADS, "type_urls": [plane.HCM]}
    chain = {
        "filters": [{"name": made_for.name, "config_discovery": discovered}],
        "metadata": {"filter_metadata": {"dragoman": {"manager": made_for.version}}},
    }
    body = {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [chain],
    }
    payload = proto.serialize(proto.from_dict(listeners.Listener, body))
    return resource.make(LISTENER, name, payload, {ROUTE: [table], EXTENSION: [made_for.name]})


@dataclass
class World:
    running: plane.Plane
    envoy: Envoy
    port: int
    two: int
    rejections: list[Rejection]

    async def answers(self, port: int = 0) -> str:
        try:
            return await asyncio.to_thread(fetch, port or self.port)
        except OSError:
            return "closed"

    async def until(self, text: str, port: int = 0) -> None:
        async def there() -> bool:
            return await self.answers(port) == text

        await net.until(f"an answer from {text}", there)

    async def settled(self) -> None:
        await net.until("quiet", lambda: is_quiet(self.running))


@contextlib.asynccontextmanager
async def world(api: str, folder: Path) -> AsyncIterator[World]:
    async with contextlib.AsyncExitStack() as stack:
        one = await stack.enter_async_context(backend("one"))
        two = await stack.enter_async_context(backend("two"))
        port = net.free_port()
        made = manager("manager:l", "r")
        running = await stack.enter_async_context(
            plane.plane(
                plane.cluster("a"),
                plane.endpoints("a", one),
                plane.route("r", "a"),
                made,
                listener("l", port, made, "r"),
            )
        )
        rejections: list[Rejection] = []
        running.ledger.on_rejection(rejections.append)
        envoy = Envoy(bootstrap(api, running.port, net.free_port()), folder)
        await stack.enter_async_context(envoy)
        found = World(running, envoy, port, two, rejections)
        await found.until("one")
        await found.settled()
        yield found


@FORMS
async def test_a_changed_manager_comes_before_the_listener_that_was_made_for_it(
    api: str, tmp_path: Path
) -> None:
    """And it finds its table, which is another, before anybody asks."""
    async with world(api, tmp_path) as made:
        seen: list[str] = []
        stop = asyncio.Event()

        async def load() -> None:
            while not stop.is_set():
                seen.append(await made.answers())

        async with asyncio.TaskGroup() as tasks:
            for _ in range(2):
                tasks.create_task(load())
            for number in range(6):
                changed = manager("manager:l", "r", max_request_headers_kb=20 + number)
                plane.put(made.running.view, changed, listener("l", made.port, changed, "r"))
                await made.settled()
            stop.set()
        assert set(seen) == {"one"}
        assert made.rejections == []
        updated = await made.envoy.stats("listener_manager.listener_in_place_updated")
        assert updated == {"listener_manager.listener_in_place_updated": 6}


@FORMS
async def test_a_refused_manager_leaves_the_former_one(api: str, tmp_path: Path) -> None:
    """The listener that was made for the new one is taken, and served with the former."""
    async with world(api, tmp_path) as made:
        bad = manager("manager:l", "r", **BAD)
        plane.put(made.running.view, bad, listener("l", made.port, bad, "r"))
        await net.until("the NACK", lambda: made.rejections)
        await made.settled()
        assert {(one.type_url, one.names) for one in made.rejections} == {(EXTENSION, ("manager:l",))}
        updated = await made.envoy.stats("listener_manager.listener_in_place_updated")
        assert updated == {"listener_manager.listener_in_place_updated": 1}
        assert {await made.answers() for _ in range(30)} == {"one"}
        good = manager("manager:l", "r", max_request_headers_kb=20)
        plane.put(
            made.running.view,
            good,
            listener("l", made.port, good, "r"),
            plane.cluster("b"),
            plane.endpoints("b", made.two),
            plane.route("r", "b"),
        )
        await made.until("two")
        await made.settled()


@FORMS
async def test_a_new_listener_whose_manager_is_refused_closes_nobody_else(api: str, tmp_path: Path) -> None:
    async with world(api, tmp_path) as made:
        port = net.free_port()
        bad = manager("manager:m", "s", **BAD)
        plane.put(made.running.view, bad, listener("m", port, bad, "s"), plane.route("s", "a"))
        await net.until("the NACK", lambda: made.rejections)
        await made.settled()
        assert await made.answers(port) == "closed"
        assert {await made.answers() for _ in range(30)} == {"one"}
        good = manager("manager:m", "s")
        plane.put(made.running.view, good, listener("m", port, good, "s"))
        await made.until("one", port)
        plane.put(made.running.view, gone=[(EXTENSION, "manager:m"), (LISTENER, "m"), (ROUTE, "s")])
        await net.until("the listener gone", lambda: _closed(made, port))
        await made.settled()
        assert await made.answers() == "one"


async def _closed(made: World, port: int) -> bool:
    return await made.answers(port) == "closed"


def shop(hosts: Sequence[str], size: int, pair: certs.Pair, port: int) -> list[Resource]:
    """What a Gateway with these TLS hosts comes to; the first has a ClientPolicy of its own."""
    tls = [manifests.listener(one[0], port, protocol="HTTPS", hostname=one, secret="cert") for one in hosts]
    policy = {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "ClientPolicy",
        "metadata": {"name": "first", "namespace": "shop"},
        "spec": {
            "targetRefs": [{"kind": "Gateway", "name": "edge", "sectionName": hosts[0][0]}],
            "headers": {"maxBytes": size},
        },
    }
    pipeline = Pipeline()
    bodies = (
        manifests.gateway_class(),
        manifests.gateway(*tls),
        manifests.tls_secret("cert", pair.certificate, pair.key),
        policy,
    )
    pipeline.load(Document(ref, body) for body in bodies if (ref := chaos.identity(body)) is not None)
    assert not pipeline.diagnostics()
    return list(pipeline.snapshot())


async def test_a_manager_changes_whose_chain_is_older_than_its_listener(tmp_path: Path) -> None:
    """Envoy 1.40 crashes if the resource changes: the chain still has what belonged to the listener of
    before. So another resource comes in its place."""
    pair, port = certs.Authority().issue("*.test"), net.free_port()
    async with contextlib.AsyncExitStack() as stack:
        running = await stack.enter_async_context(plane.plane(*shop(["a.test", "b.test"], 4096, pair, port)))
        running.views.groups["*"] = running.view
        envoy = Envoy(bootstrap("DELTA_GRPC", running.port, net.free_port()), tmp_path)
        await stack.enter_async_context(envoy)

        async def become(hosts: Sequence[str], size: int) -> None:
            wanted = shop(hosts, size, pair, port)
            had = {(one.type_url, one.name) for one in running.view.snapshot()}
            gone = had - {(one.type_url, one.name) for one in wanted}
            plane.put(running.view, *wanted, gone=gone)
            managers = [one for one in wanted if one.name.startswith("manager:")]
            assert len(managers) == len(hosts)

            async def there() -> bool:
                assert envoy.running(), "Envoy crashed"
                told = await envoy.get("/config_dump")
                return all(f'"{one.name}"' in told for one in managers)

            await net.until("the managers there", there)
            await net.until("quiet", lambda: is_quiet(running))

        async def drained() -> bool:
            found = await envoy.stats("listener_manager.total_.*(draining|warming)")
            return bool(found) and not any(found.values())

        # A host comes and goes: each time the first one's chain is kept.
        for other in ("b.test", "c.test", "d.test"):
            await become(["a.test", other], 4096)
        await net.until("the listeners of before gone", drained)
        for size in (8192, 16384, 4096):
            await become(["a.test", "d.test"], size)
        assert envoy.running()
