"""A real Envoy that comes back with filter chains to a control plane that has others: one that does not say
which it has, and one whose listener has all in it by now.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from dragoman import proto, resource
from dragoman.proto.envoy.config.listener import v3 as listeners
from dragoman.resource import CHAIN, LISTENER, ROUTE, SECRET, Resource
from dragoman.xds import server
from dragoman.xds.wire import Request
from tests.harness import net
from tests.harness.envoy import Envoy
from tests.harness.load import Reply, read_reply
from tests.wire import plane
from tests.wire.test_chains import TLS, World, chain, listener, secret
from tests.wire.test_envoy import backend, bootstrap

pytestmark = [pytest.mark.envoy, pytest.mark.usefixtures("envoy_binary")]

NAMES = ("l/a", "l/b")
WARMING = "listener_manager.total_listeners_warming"


class Connection:
    """One to a host that stays open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader, self._writer, self._host = reader, writer, host

    async def ask(self) -> Reply | None:
        """The answer; None where there is none."""
        try:
            self._writer.write(f"GET / HTTP/1.1\r\nhost: {self._host}\r\n\r\n".encode())
            return await asyncio.wait_for(read_reply(self._reader), 30)
        except (OSError, asyncio.IncompleteReadError):
            return None

    async def goes(self) -> bool:
        """Whether it is told, or closed."""
        reply = await self.ask()
        return reply is None or reply.headers.get("connection") == "close"


async def connection(made: World, name: str) -> Connection:
    host = f"{name}.shop.example"
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", made.port, ssl=made.context, server_hostname=host
    )
    opened = Connection(reader, writer, host)
    assert (await opened.ask()) is not None
    return opened


class Site:
    """An Envoy that fetched the chains of `NAMES`, and control planes one after the other on one port."""

    def __init__(self, folder: Path, one: int, stack: contextlib.AsyncExitStack) -> None:
        self._folder = folder
        self._one = one
        self._stack = stack
        self._xds = net.free_port()
        self._planes = contextlib.AsyncExitStack()
        self.world: World = None  # type: ignore[assignment]

    async def begin(self, *more: Resource) -> World:
        port = net.free_port()
        running = await self._start(listener(port, NAMES), *map(chain, NAMES), *more)
        envoy = Envoy(bootstrap("DELTA_GRPC", self._xds, net.free_port()), self._folder, drain=5)
        self.world = World(running, envoy, port)
        await self._stack.enter_async_context(envoy)
        await self.world.served("a", "b")
        return self.world

    async def follow(self, *resources: Resource) -> None:
        """Another control plane in place of the one there is."""
        await self.end()
        self.world.running = await self._start(*resources)

    async def end(self) -> None:
        await self._planes.aclose()

    async def _start(self, *resources: Resource) -> plane.Plane:
        base = (plane.cluster("a"), plane.endpoints("a", self._one), plane.route("r", "a"))
        return await self._planes.enter_async_context(
            plane.plane(*base, *resources, port=self._xds, warming_timeout=1.0)
        )


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[Site]:
    async with contextlib.AsyncExitStack() as stack:
        one = await stack.enter_async_context(backend("one"))
        made = Site(tmp_path, one, stack)
        stack.push_async_callback(made.end)
        yield made


@pytest.fixture
async def site(empty: Site) -> Site:
    await empty.begin()
    return empty


class Mute:
    """Requests for one type do not arrive until `speak`."""

    def __init__(self, patch: pytest.MonkeyPatch, type_url: str) -> None:
        self._kept: list[tuple[Any, Request]] = []
        self._patch = patch
        self._take = server._Stream._take

        def take(stream: Any, request: Request) -> None:
            if request.type_url == type_url:
                self._kept.append((stream, request))
            else:
                self._take(stream, request)

        self._patch.setattr(server._Stream, "_take", take)

    def heard(self) -> bool:
        return bool(self._kept)

    def speak(self) -> None:
        self._patch.setattr(server._Stream, "_take", self._take)
        for stream, request in self._kept:
            self._take(stream, request)


async def test_rule_64_a_proxy_that_does_not_say_which_chains_it_has_lives(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It keeps its listener however long that takes; everything else reaches it."""
    made = site.world
    opened = [await connection(made, "b") for _ in range(3)]
    mute = Mute(monkeypatch, CHAIN)
    await site.follow(listener(made.port, ["l/a"]), chain("l/a"))
    await net.until("Envoy back", mute.heard)
    await net.until("longer than anything else is waited for", lambda: "DRG4104" in caplog.text)
    (proxy,) = made.running.ledger.proxies()
    assert "filter chains" in proxy.types[LISTENER].waits
    assert proxy.status == "STALE"
    for each in opened:
        assert await each.ask() is not None
    async with backend("two") as two:
        plane.put(made.running.view, plane.cluster("c"), plane.endpoints("c", two), plane.route("r", "c"))

        async def moved() -> bool:
            reply = await opened[0].ask()
            assert reply is not None
            return reply.body == b"two"

        await net.until("the other backend", moved)
        mute.speak()
        await made.settled()
        await net.until("b gone", lambda: _closed(made, "b"))
        assert made.running.ledger.proxies()[0].types[LISTENER].waits == ""
        for body in ("2", "3"):  # Envoy forgets chains that are gone when another changes
            await net.until("drained", opened.pop().goes)
            plane.put(made.running.view, chain("l/a", body=body))
            await made.settled()
            await made.served("a")
        await net.until("drained", opened.pop().goes)
        await made.served("a")
        assert made.envoy.running()


async def _closed(made: World, name: str) -> bool:
    return not await made.answers(name)


async def test_chains_serve_until_the_listener_that_follows_is_warm(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has all in it, and waits for a certificate. The former one drains with its chains, and lets go of
    them."""
    made = site.world
    opened = [await connection(made, name) for name in "ab"]
    mute = Mute(monkeypatch, SECRET)
    await site.follow(whole(made.port, "ab"), secret("s"))
    await net.until("the listener there, and warming", mute.heard)
    await net.until("Envoy back", lambda: _asked(made, CHAIN))
    assert (await made.envoy.stats(WARMING))[WARMING] == 1
    for _ in range(20):
        assert await made.answers("a")
        assert await made.answers("b")
    mute.speak()
    for each in opened:
        await net.until("drained", each.goes)
    assert (await made.envoy.stats(WARMING))[WARMING] == 0
    await made.served("a", "b")
    (proxy,) = made.running.ledger.proxies()
    assert proxy.types[CHAIN].responses == 0, "nothing was taken away"
    await made.settled()
    await made.served("a", "b")
    assert made.envoy.running()


def _asked(made: World, type_url: str) -> bool:
    return any(type_url in proxy.types for proxy in made.running.ledger.proxies())


def whole(port: int, names: Iterable[str]) -> Resource:
    """With the chains in it, whose certificate is a secret."""
    inspector = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
    common = {"tls_certificate_sds_secret_configs": [{"name": "s", "sds_config": plane.ADS}]}
    context = {"@type": f"{TLS}.DownstreamTlsContext", "common_tls_context": common}
    chains = [
        {
            "name": name,
            "filter_chain_match": {"server_names": [f"{name}.shop.example"]},
            "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context},
            "filters": [{"name": "hcm", "typed_config": plane.manager("r")}],
        }
        for name in names
    ]
    body = {
        "name": "l",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "listener_filters": [{"name": "inspector", "typed_config": {"@type": inspector}}],
        "filter_chains": chains,
    }
    payload = proto.serialize(proto.from_dict(listeners.Listener, body))
    return resource.make(LISTENER, "l", payload, {ROUTE: ["r"], SECRET: ["s"]})


async def test_a_listener_of_a_response_that_was_refused_for_another(empty: Site) -> None:
    """Envoy has taken it all the same, and says of none what it has. The listener comes before the removal
    then, and that is in time: Envoy keeps the former one for its drain time."""
    bad = plane.listener("bad", 0, "r")
    body = listeners.Listener.FromString(bad.payload)
    body.address.socket_address.address = "192.0.2.1"
    body.address.socket_address.port_value = 8080
    bad = resource.make(LISTENER, "bad", proto.serialize(body), {ROUTE: ["r"]})
    made = await empty.begin(bad)
    opened = [await connection(made, "b") for _ in range(3)]
    await net.until("refused", lambda: made.running.ledger.proxies()[0].types[LISTENER].nacks)
    await empty.follow(listener(made.port, ["l/a"]), chain("l/a"), bad)
    await net.until("Envoy back", lambda: _asked(made, CHAIN))
    await net.until("b gone", lambda: _closed(made, "b"))
    for body in ("2", "3"):
        await net.until("drained", opened.pop().goes)
        plane.put(made.running.view, chain("l/a", body=body))
        await made.served("a")
    await net.until("drained", opened.pop().goes)
    await made.served("a")
    assert made.envoy.running()
