"""Scopes (SRDS) and a real Envoy, which takes all of a response or nothing: one bad scope holds up no other,
and is named; a listener follows the scopes that it looks in."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dragoman.resource import LISTENER, SCOPE
from dragoman.xds.types import Rejection
from tests.harness import net
from tests.harness.envoy import Envoy
from tests.wire import plane
from tests.wire.test_envoy import backend, bootstrap, is_quiet

pytestmark = [pytest.mark.envoy, pytest.mark.usefixtures("envoy_binary")]

NAMES = [f"s{number:02}" for number in range(20)]
BAD = "("


@dataclass
class World:
    running: plane.Plane
    port: int
    two: int
    rejections: list[Rejection]

    def ask(self, scope: str) -> str:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/", headers={"scope": scope})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            return str(error.code)

    async def answers(self) -> dict[str, str]:
        return {name: await asyncio.to_thread(self.ask, name) for name in NAMES}

    async def settled(self) -> None:
        await net.until("quiet", lambda: is_quiet(self.running))

    @property
    def refused(self) -> tuple[str, ...]:
        """What the ledger says is refused now."""
        (proxy,) = self.running.ledger.proxies()
        return proxy.types[SCOPE].error_names


@contextlib.asynccontextmanager
async def world(folder: Path, *bad: str) -> AsyncIterator[World]:
    """Envoy with 20 scopes, of which some are bad from the beginning."""
    async with contextlib.AsyncExitStack() as stack:
        one = await stack.enter_async_context(backend("one"))
        two = await stack.enter_async_context(backend("two"))
        port = net.free_port()
        scopes = [plane.scope(name, "a", regex=BAD if name in bad else ".*") for name in NAMES]
        running = await stack.enter_async_context(
            plane.plane(
                plane.cluster("a"),
                plane.endpoints("a", one),
                plane.cluster("b"),
                plane.endpoints("b", two),
                *scopes,
                plane.scoped_listener("l", port, *NAMES),
            )
        )
        made = World(running, port, two, [])
        running.ledger.on_rejection(made.rejections.append)
        config = bootstrap("DELTA_GRPC", running.port, net.free_port())
        await stack.enter_async_context(Envoy(config, folder))
        await net.until("an answer", lambda: accepts(port))
        await made.settled()
        yield made


def accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


async def test_one_bad_scope_among_changed_ones_holds_up_none(tmp_path: Path) -> None:
    async with world(tmp_path) as site:
        assert set((await site.answers()).values()) == {"one"}
        changed = [plane.scope(name, "b", regex=BAD if name == "s07" else ".*") for name in NAMES]
        plane.put(site.running.view, *changed)
        await site.settled()
        expected = dict.fromkeys(NAMES, "two") | {"s07": "one"}  # the last good form
        assert await site.answers() == expected
        assert site.refused == ("s07",)
        assert {each.names for each in site.rejections} == {("s07",)}

        plane.put(site.running.view, plane.scope("s03", "a"))
        await site.settled()
        assert site.refused == ("s07",)  # that others are taken heals nothing
        plane.put(site.running.view, plane.scope("s07", "b"))
        await site.settled()
        assert site.refused == ()
        assert (await site.answers())["s07"] == "two"


async def test_bad_scopes_from_the_beginning(tmp_path: Path) -> None:
    async with world(tmp_path, "s00", "s13", "s14") as site:
        expected = dict.fromkeys(NAMES, "one") | dict.fromkeys(("s00", "s13", "s14"), "404")
        assert await site.answers() == expected
        assert site.refused == ("s00", "s13", "s14")
        plane.put(site.running.view, plane.scope("s13", "a"))
        await site.settled()
        assert site.refused == ("s00", "s14")
        plane.put(site.running.view, plane.scope("s14", "a"), gone=[(SCOPE, "s00")])
        await site.settled()
        assert site.refused == ()


async def test_a_listener_comes_after_its_scopes_and_goes_before_them(tmp_path: Path) -> None:
    async with world(tmp_path) as site:
        port = net.free_port()
        more = [plane.scope(f"t{number}", "a") for number in range(300)]
        plane.put(site.running.view, plane.scoped_listener("m", port, *(each.name for each in more)), *more)
        await net.until("the listener", lambda: accepts(port))
        site.port = port
        for each in more:
            assert await asyncio.to_thread(site.ask, each.name) == "one"
        gone = [(LISTENER, "m"), *((SCOPE, each.name) for each in more)]
        plane.put(site.running.view, gone=gone)
        await site.settled()
        assert not accepts(port)
        assert not site.rejections
