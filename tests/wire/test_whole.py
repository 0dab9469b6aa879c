"""Who gets listeners that fetch their filter chains, and who gets them with everything in them."""

from __future__ import annotations

import pytest

from dragoman import config, resource
from dragoman.resource import CHAIN, LISTENER, WHOLE
from dragoman.xds.wire import Form
from tests.harness import net
from tests.wire import plane
from tests.wire.plane import NODE, connect, payloads

RESOURCES = (
    resource.make(LISTENER, "l", b"fetches", {CHAIN: ["a"]}),
    resource.make(WHOLE, "l", b"whole"),
    resource.make(CHAIN, "a", b"key", sensitive=True),
)
RETURNED = {"l": resource.make(LISTENER, "l", b"before", {CHAIN: ["a", "b"]}).version, "plain": "old"}
"""What a proxy has whose listener named two chains."""
OPEN = (config.NodeRule(id="poor-*", gateways=("shop/edge",), secrets=False), config.NodeRule(id="*"))


async def told(port: int, form: Form = Form.DELTA, *, alone: bool = False, **node: str) -> bytes:
    """The listener that a node gets."""
    where = ("listener.v3.ListenerDiscoveryService", "Listeners") if alone else ()
    async with connect(port, form, *where, node={**NODE, **node}) as stream:
        response = await stream.ask(LISTENER)
        (sent,) = response.resources
        return bytes((sent.resource if form is Form.DELTA else sent).value)


async def test_envoys_that_speak_delta_fetch_chains() -> None:
    async with plane.plane(*RESOURCES, nodes=OPEN) as running:
        assert await told(running.port) == b"fetches"
        assert await told(running.port, user_agent_version="1.40.1") == b"fetches"
        async with connect(running.port) as stream:
            assert payloads(await stream.ask(CHAIN, "a")) == {"a": b"key"}


async def test_all_others_have_everything_in_the_listener() -> None:
    async with plane.plane(*RESOURCES, nodes=OPEN) as running:
        assert await told(running.port, Form.SOTW) == b"whole"
        assert await told(running.port, alone=True) == b"whole"
        assert await told(running.port, user_agent_version="1.39.4") == b"whole"
        assert await told(running.port, id="poor-1") == b"whole"


@pytest.mark.parametrize("form", list(Form))
async def test_who_may_not_have_secrets_gets_no_chain(form: Form) -> None:
    """It is told that there is none; in state of the world it hears nothing."""
    poor = {**NODE, "id": "poor-1"}
    async with (
        plane.plane(*RESOURCES, nodes=OPEN) as running,
        connect(running.port, form, node=poor) as stream,
    ):
        await stream.send(CHAIN, **stream.names("a"))
        response = await stream.ask(LISTENER)
        if form is Form.DELTA and response.type_url == CHAIN:
            assert list(response.removed_resources) == ["a"]
            assert not response.resources
            response = await stream.read()
        assert response.type_url == LISTENER


async def test_who_does_not_say_which_chains_it_has_gets_all_else(caplog: pytest.LogCaptureFixture) -> None:
    """Long after anything else is waited for no more, other listeners come, and this one does not."""
    plain = [resource.make(LISTENER, "plain", text) for text in (b"plain 1", b"plain 2")]
    async with (
        plane.plane(*RESOURCES, plain[0], nodes=OPEN, warming_timeout=0.2) as running,
        connect(running.port) as stream,
    ):
        await stream.send(LISTENER, initial_resource_versions=RETURNED)
        response = await stream.read()
        assert payloads(response) == {"plain": b"plain 1"}
        await stream.ack(response)
        await net.until("the log", lambda: "DRG4104" in caplog.text)
        plane.put(running.view, plain[1])
        response = await stream.read()
        assert payloads(response) == {"plain": b"plain 2"}
        await stream.ack(response)
        versions = {name: resource.make(CHAIN, name, b"key").version for name in "ab"}
        await stream.send(CHAIN, initial_resource_versions=versions, **stream.names("a", "b"))
        response = await stream.read()
        assert list(response.removed_resources) == ["b"]
        await stream.ack(response)
        assert payloads(await stream.read()) == {"l": b"fetches"}
