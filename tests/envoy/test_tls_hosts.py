"""Many TLS hosts on one port: one that comes, changes or goes disturbs nobody else, and each keeps to itself.

The connection managers stand beside the filter chains (ECDS), and Envoy is asked whether they do.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from functools import partial
from pathlib import Path

import pytest

from tests.envoy.client_site import client_policy
from tests.harness import manifests, net
from tests.harness.certs import Authority
from tests.harness.load import Load, Reply, read_reply
from tests.harness.manifests import http_route, rule
from tests.harness.site import Mode, Site

pytestmark = pytest.mark.envoy

COUNT = 30
KEPT = (3, 17)
CHANGED = 9


def host(number: int) -> str:
    return f"h{number}.example"


class Hosts:
    """Each a ListenerSet with a certificate and a route, in a file of its own."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.port = net.free_port()
        self.authority = Authority()
        self.context = self.authority.client_context()

    async def begin(self) -> None:
        gateway = self.site.gateway()
        gateway[1]["spec"]["allowedListeners"] = {"namespaces": {"from": "Same"}}
        self.site.plane.write("gateway.yaml", *gateway)
        self.site.plane.write("shop.yaml", *await self.site.service("shop"))
        for number in range(COUNT):
            self.put(host(number))
        self.put("*.wild.example")
        for name in [host(number) for number in range(COUNT)] + ["a.wild.example"]:
            await net.until(f"{name} served", partial(self.answers, name))

    def put(self, hostname: str) -> int:
        """The serial number of its certificate."""
        name = hostname.replace("*", "any").replace(".", "-")
        pair = self.authority.issue(hostname)
        own = manifests.listener("own", self.port, protocol="HTTPS", hostname=hostname, secret=name)
        route = http_route(name, rule("shop"), hostnames=[hostname])
        route["spec"]["parentRefs"] = [{"kind": "ListenerSet", "name": name}]
        secret = manifests.tls_secret(name, pair.certificate, pair.key)
        self.site.plane.write(f"{name}.yaml", secret, manifests.listener_set(name, own), route)
        return pair.serial

    def load(self, hostname: str, **more: object) -> Load:
        return Load(self.port, hostname, tls=self.context, connections=2, **more)  # type: ignore[arg-type]

    async def answers(self, hostname: str) -> bool:
        async with Load(self.port, hostname, tls=self.context, connections=1, warm=1) as load:
            pass
        return not load.failures

    async def refused(self, hostname: str) -> bool:
        return not await self.answers(hostname)

    async def ask(self, server_name: str, hostname: str) -> Reply:
        """A request for one host on a connection that was made for another."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.context, server_hostname=server_name
        )
        try:
            writer.write(f"GET / HTTP/1.1\r\nhost: {hostname}\r\n\r\n".encode())
            return await read_reply(reader)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@pytest.mark.parametrize("mode", ["delta", "sotw"])
async def test_hosts_come_change_and_go(mode: Mode, tmp_path: Path, envoy_binary: Path) -> None:
    async with Site(tmp_path, mode=mode, drain=20) as site:
        hosts = Hosts(site)
        await hosts.begin()
        await keep_to_themselves(hosts)
        await _stand_apart(hosts)
        await _come_change_and_go(hosts)


async def keep_to_themselves(hosts: Hosts) -> None:
    for server_name, asked, status in (
        (host(1), host(1), 200),
        (host(1), host(2), 421),
        (host(1), "a.wild.example", 421),
        (host(1), "nobody.example", 404),
        ("a.wild.example", "b.wild.example", 200),
        ("a.wild.example", host(1), 421),
    ):
        assert (await hosts.ask(server_name, asked)).status == status, (server_name, asked)
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        await hosts.ask("nobody.example", "nobody.example")


async def _stand_apart(hosts: Hosts) -> None:
    configs = (await hosts.site.envoy.config())["configs"]
    (listener,) = [
        each["active_state"]["listener"]
        for section in configs
        for each in section.get("dynamic_listeners", ())
        if each["name"].endswith(f":{hosts.port}")
    ]
    assert len(listener["filter_chains"]) == COUNT + 1
    for chain in listener["filter_chains"]:
        (network,) = chain["filters"]
        assert network["name"].partition("@")[0] == f"manager:{chain['name']}"
        assert "typed_config" not in network
    kept = await hosts.site.envoy.stats("extension_config_discovery")
    assert kept
    assert not [name for name in kept if "manager:" in name], "a statistic for each host"


async def _come_change_and_go(hosts: Hosts) -> None:
    plane = hosts.site.plane
    async with contextlib.AsyncExitStack() as stack:
        kept = [await stack.enter_async_context(hosts.load(host(number))) for number in KEPT]
        fresh = await stack.enter_async_context(hosts.load(host(KEPT[0]), fresh=True))
        changed = await stack.enter_async_context(hosts.load(host(CHANGED)))
        renewed = await stack.enter_async_context(hosts.load(host(CHANGED), fresh=True))
        for number in range(COUNT, COUNT + 3):
            hosts.put(host(number))
            await net.until(f"{host(number)} served", partial(hosts.answers, host(number)))
            await kept[0].more(20)
        for _ in range(2):
            serial = hosts.put(host(CHANGED))
            await net.until("the new certificate", partial(renewed.serials.get, serial))
            await kept[0].more(20)
        assert changed.opened == changed.connections, "a certificate closed connections"
        for number in range(COUNT, COUNT + 3):
            plane.remove(f"{host(number).replace('.', '-')}.yaml")
            await net.until(f"{host(number)} gone", partial(hosts.refused, host(number)))
            await kept[0].more(20)
        hosts.put(host(COUNT))  # while its former connections may still be drained
        await net.until(f"{host(COUNT)} served again", partial(hosts.answers, host(COUNT)))
        # Another connection manager is another chain: its own connections go, each told with an answer.
        policy = client_policy({"paths": {"escapedSlashes": "Reject"}}, section="own")
        policy["spec"]["targetRefs"][0] |= {"kind": "ListenerSet", "name": host(CHANGED).replace(".", "-")}
        plane.write("policy.yaml", policy)
        await net.until("connections replaced", lambda: changed.opened > changed.connections)
        await kept[0].more(300)
    for load in (*kept, fresh, changed, renewed):
        assert not load.failures, (load.host, dict(load.failures))
    for load in kept:
        assert load.opened == load.connections, f"connections of {load.host} have been replaced"
