"""ClientPolicies come and go under load: whom it drains, and that nobody loses a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dragoman import proto
from dragoman.envoy import bootstrap, process, static
from dragoman.envoy.admin import Admin
from dragoman.proto.envoy.config.bootstrap import v3 as bootstrap_proto
from tests.envoy import client_site
from tests.envoy.client_site import client_policy
from tests.harness import manifests, net
from tests.harness.backend import Backend
from tests.harness.certs import Authority
from tests.harness.echo import Echo, Identity
from tests.harness.load import Load
from tests.harness.manifests import http_route, rule
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

NAMES = ("a", "b")


async def test_a_policy_for_one_host_leaves_the_other_alone(tmp_path: Path, envoy_binary: Path) -> None:
    """Both are on one port. The connections of `a` are drained: they hear of it with an answer. Those of `b`
    stay."""
    async with Site(tmp_path, drain=30) as site:
        await _change_one_of_two(site)


async def _change_one_of_two(site: Site) -> None:
    authority = Authority()
    port = net.free_port()
    secure = []
    for name in NAMES:
        pair = authority.issue(f"{name}.example")
        site.plane.write(f"{name}.yaml", manifests.tls_secret(name, pair.certificate, pair.key))
        secure.append(
            manifests.listener(name, port, protocol="HTTPS", hostname=f"{name}.example", secret=name)
        )
    hosts = [f"{name}.example" for name in NAMES]
    site.plane.write("gateway.yaml", *site.gateway(*secure))
    site.plane.write(
        "shop.yaml", *await site.service("shop"), http_route("shop", rule("shop"), hostnames=hosts)
    )
    context = authority.client_context()

    async def answers(host: str, status: int) -> bool:
        """Whether a slash that is escaped is answered so."""
        expect = lambda reply: None if reply.status == status else "another"  # noqa: E731
        async with Load(port, host, "/a%2Fb", tls=context, connections=1, warm=1, expect=expect) as load:
            pass
        return not load.failures

    async def routed(host: str) -> bool:
        async with Load(port, host, tls=context, connections=1, warm=1) as load:
            pass
        return not load.failures

    for host in hosts:
        await net.until(f"{host} served", lambda host=host: answers(host, 307))  # type: ignore[misc]
        await net.until(f"{host} routed", lambda host=host: routed(host))  # type: ignore[misc]
    async with Load(port, hosts[0], tls=context) as drained, Load(port, hosts[1], tls=context) as kept:
        for _ in range(2):
            policy = client_policy({"paths": {"escapedSlashes": "Reject"}}, section="a")
            site.plane.write("policy.yaml", policy)
            await net.until("the policy in force", lambda: answers(hosts[0], 400))
            await kept.more(150)
            assert await answers(hosts[1], 307)
            site.plane.remove("policy.yaml")
            await net.until("the policy gone", lambda: answers(hosts[0], 307))
        await kept.more(500)
        await net.until("new connections", lambda: drained.opened > drained.connections)
    assert not drained.failures, dict(drained.failures)
    assert not kept.failures, dict(kept.failures)
    assert kept.opened == kept.connections, "connections of the other listener have been replaced"


@asynccontextmanager
async def protected(binary: Path, **limits: int) -> AsyncIterator[int]:
    """The port of an Envoy with the overload manager of our bootstrap."""
    port = net.free_port()
    made = bootstrap.bootstrap(node_id="n", **limits)  # type: ignore[arg-type]
    async with Backend(Echo(Identity("v1"))) as backend:
        translated = client_site.pipeline(
            [
                manifests.gateway_class(),
                manifests.gateway(manifests.listener("http", port)),
                http_route("all", rule("v1"), hostnames=[]),
                manifests.service("v1"),
                manifests.endpoint_slice("v1", backend.port),
            ]
        )
        snapshot = translated.snapshot()
        resources = [one for kind in snapshot.types() for one in snapshot.resources(kind).values()]
        admin = Admin(port=net.free_port())
        message = static.bootstrap(resources, admin)
        manager = {"overload_manager": made["overload_manager"]}
        message.MergeFrom(proto.from_dict(bootstrap_proto.Bootstrap, manager))
        serialized = proto.serialize(message)
        async with process.running(serialized, binary=binary, admin=admin, concurrency=1) as envoy:
            await envoy.ready()
            yield port


async def answered(port: int) -> int:
    """The status of an answer on a new connection; 0 for none."""
    try:
        connection = await client_site.connected(port)
        async with asyncio.timeout(2):
            return (await connection.ask()).status
    except (OSError, EOFError, TimeoutError):
        return 0


async def test_connections_of_an_envoy_are_limited(envoy_binary: Path) -> None:
    async with protected(envoy_binary, connections=2) as port:
        held = [await client_site.connected(port) for _ in range(2)]
        assert [(await one.ask()).status for one in held] == [200, 200]
        assert await answered(port) == 0
        assert (await held[0].ask()).status == 200
        held[0].close()

        async def admitted() -> bool:
            return await answered(port) == 200

        await net.until("room for another connection", admitted)


async def test_an_envoy_without_memory_takes_nothing_new(envoy_binary: Path) -> None:
    """One byte is used up from the start."""

    async def refused(port: int) -> bool:
        return await answered(port) != 200

    async with protected(envoy_binary, heap=2**34) as port:
        assert not await refused(port)
    async with protected(envoy_binary, heap=1) as port:
        await net.until("requests refused", lambda: refused(port))
