"""Filter chains by FCDS and a real Envoy: what a refused one costs the others, and what Envoy 1.40 cannot do.

The second part says why the chains have their certificates in them, and why the planner takes a chain away
before the listener stops to name it. Where one of those fails, a later Envoy has been mended.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dragoman import proto, resource
from dragoman.proto.envoy.config.listener import v3 as listeners
from dragoman.proto.envoy.extensions.transport_sockets.tls import v3 as tls
from dragoman.resource import CHAIN, LISTENER, ROUTE, SECRET, Resource
from dragoman.xds.types import Rejection
from tests.harness import net
from tests.harness.certs import Authority
from tests.harness.envoy import Envoy
from tests.wire import plane
from tests.wire.test_envoy import backend, bootstrap, is_quiet

pytestmark = [pytest.mark.envoy, pytest.mark.usefixtures("envoy_binary")]

INPUTS = "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3"
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
AUTHORITY = Authority()
PAIR = AUTHORITY.issue("*.shop.example")


def inline(text: str) -> dict[str, str]:
    return {"inline_bytes": base64.b64encode(text.encode()).decode()}


def chain(name: str, *, key: str = PAIR.key, by_sds: bool = False, body: str = "") -> Resource:
    common: dict[str, Any] = {
        "tls_certificates": [{"certificate_chain": inline(PAIR.certificate), "private_key": inline(key)}]
    }
    if by_sds:
        common = {"tls_certificate_sds_secret_configs": [{"name": name, "sds_config": plane.ADS}]}
    context = {"@type": f"{TLS}.DownstreamTlsContext", "common_tls_context": common}
    made = {
        "name": name,
        "metadata": {"filter_metadata": {"test": {"body": body}}},
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context},
        "filters": [{"name": "hcm", "typed_config": plane.manager("r")}],
    }
    payload = proto.serialize(proto.from_dict(listeners.FilterChain, made))
    return resource.make(CHAIN, name, payload, {ROUTE: ["r"]}, sensitive=True)


def secret(name: str) -> Resource:
    made = tls.Secret(name=name)
    made.tls_certificate.certificate_chain.inline_bytes = PAIR.certificate.encode()
    made.tls_certificate.private_key.inline_bytes = PAIR.key.encode()
    return resource.make(SECRET, name, proto.serialize(made), sensitive=True)


def listener(port: int, names: Iterable[str]) -> Resource:
    """Of each name what stands behind its last slash is the host."""

    def to(name: str) -> dict[str, Any]:
        value = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": name}
        return {"action": {"name": "chain", "typed_config": value}}

    inspector = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
    proxy = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "closed",
        "cluster": "nowhere",
    }
    body = {
        "name": "l",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "listener_filters": [{"name": "inspector", "typed_config": {"@type": inspector}}],
        "filter_chains": [{"name": "closed", "filters": [{"name": "proxy", "typed_config": proxy}]}],
        "fcds_config": {"config_source": plane.ADS},
        "filter_chain_matcher": {
            "matcher_tree": {
                "input": {"name": "name", "typed_config": {"@type": f"{INPUTS}.ServerNameInput"}},
                "exact_match_map": {
                    "map": {f"{name.rpartition('/')[2]}.shop.example": to(name) for name in names}
                },
            }
        },
    }
    payload = proto.serialize(proto.from_dict(listeners.Listener, body))
    return resource.make(LISTENER, "l", payload, {CHAIN: names})


@dataclass
class World:
    running: plane.Plane
    envoy: Envoy
    port: int
    rejections: list[Rejection] = field(default_factory=list)
    context: ssl.SSLContext = field(default_factory=AUTHORITY.client_context)

    async def opens(self, name: str) -> asyncio.StreamWriter | None:
        try:
            _, writer = await asyncio.open_connection(
                "127.0.0.1", self.port, ssl=self.context, server_hostname=f"{name}.shop.example"
            )
        except OSError:
            return None
        return writer

    async def answers(self, name: str) -> bool:
        writer = await self.opens(name)
        if writer is not None:
            writer.close()
        return writer is not None

    async def served(self, *names: str) -> None:
        for name in names:
            await net.until(f"{name} served", lambda name=name: self.answers(name))

    async def settled(self) -> None:
        await net.until("quiet", lambda: is_quiet(self.running))


@contextlib.asynccontextmanager
async def world(folder: Path, names: str, *more: Resource) -> AsyncIterator[World]:
    async with contextlib.AsyncExitStack() as stack:
        one = await stack.enter_async_context(backend("one"))
        port = net.free_port()
        base = [plane.cluster("a"), plane.endpoints("a", one), plane.route("r", "a"), listener(port, names)]
        running = await stack.enter_async_context(plane.plane(*base, *map(chain, names), *more))
        envoy = Envoy(bootstrap("DELTA_GRPC", running.port, net.free_port()), folder)
        found = World(running, envoy, port)
        running.ledger.on_rejection(found.rejections.append)
        await stack.enter_async_context(envoy)
        yield found


async def test_a_refused_chain_costs_no_other(tmp_path: Path) -> None:
    """New ones or changed ones, in one response with it."""
    names = "abcdefgh"
    async with world(tmp_path, names, chain("c", key="no key")) as made:
        await made.served(*(name for name in names if name != "c"))
        await made.settled()
        assert not await made.answers("c")
        assert {one.names for one in made.rejections} == {("c",)}
        kept = [await made.opens(name) for name in "ab"]
        plane.put(
            made.running.view,
            *(chain(name, body="2") for name in "cdefh"),
            chain("g", key="no key", body="2"),
        )
        await made.served("c")
        await made.settled()
        assert made.rejections[-1].names == ("g",)
        assert await made.answers("g"), "with what it had"
        plane.put(made.running.view, chain("g", body="3"))
        await made.settled()
        assert await made.answers("g")
        assert all(one is not None and not one.is_closing() for one in kept)
        updated = await made.envoy.stats("listener_manager.listener_modified")
        assert updated == {"listener_manager.listener_modified": 0}


async def test_a_name_without_a_chain_is_closed_until_it_comes(tmp_path: Path) -> None:
    async with world(tmp_path, "ab") as made:
        await made.served("a", "b")
        plane.put(made.running.view, listener(made.port, "abc"))
        await made.settled()
        assert not await made.answers("c")
        plane.put(made.running.view, chain("c"))
        await made.served("a", "b", "c")
        plane.put(made.running.view, listener(made.port, "ab"), gone=[(CHAIN, "c")])
        await made.settled()
        assert not await made.answers("c")
        await made.served("a", "b")
        assert made.rejections == []


async def test_secrets_of_a_chain_that_comes_later_are_never_asked_for(tmp_path: Path) -> None:
    first, later = secret("s"), secret("t")
    async with world(tmp_path, "a", first, later, chain("s", by_sds=True)) as made:
        await made.served("a")
        plane.put(made.running.view, listener(made.port, "at"), chain("t", by_sds=True))
        await made.settled()
        stats = await made.envoy.stats(r"sds\.t\.update_attempt")
        assert stats == {"sds.t.update_attempt": 0}, "Envoy has been mended: chains may name secrets"
