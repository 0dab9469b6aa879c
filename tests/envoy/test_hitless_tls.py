"""A certificate is replaced under load: connections live on, new handshakes get the new one, nobody is turned
away.
"""

from __future__ import annotations

from functools import partial

import pytest

from tests.harness import manifests, net
from tests.harness.certs import Authority
from tests.harness.load import Load
from tests.harness.manifests import http_route, rule
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

HOST = "shop.example"


async def test_certificate_is_replaced(site: Site) -> None:
    authority = Authority()
    port = net.free_port()
    secure = manifests.listener("https", port, protocol="HTTPS", hostname=HOST, secret="cert")
    pair = authority.issue(HOST)
    site.plane.write("cert.yaml", manifests.tls_secret("cert", pair.certificate, pair.key))
    site.plane.write("gateway.yaml", *site.gateway(secure))
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", rule("shop")))
    await site.served(HOST)
    context = authority.client_context()
    await net.until("HTTPS served", lambda: _answers(port, authority))
    async with (
        Load(port, HOST, tls=context) as kept,
        Load(port, HOST, tls=context, fresh=True, connections=2) as fresh,
    ):
        first = pair.serial
        for _ in range(3):
            pair = authority.issue(HOST)
            site.plane.write("cert.yaml", manifests.tls_secret("cert", pair.certificate, pair.key))
            await net.until("the new certificate in handshakes", partial(fresh.serials.get, pair.serial))
            await fresh.more(50)
            assert fresh.latest_serial == pair.serial
        await kept.more(max(0, 1500 - kept.done))
        await fresh.more(max(0, 300 - fresh.done))
    assert not kept.failures, dict(kept.failures)
    assert not fresh.failures, dict(fresh.failures)
    assert set(kept.serials) == {first}, "connections that were open have been replaced"


async def test_https_listeners_come_and_go(site: Site) -> None:
    """Another host name on the same port is another filter chain: connections of the first one stay open."""
    authority = Authority()
    port = net.free_port()
    names = (HOST, "guest.example")
    for name in names:
        pair = authority.issue(name)
        site.plane.write(f"{name}.yaml", manifests.tls_secret(name, pair.certificate, pair.key))
    first, second = (
        manifests.listener(name.partition(".")[0], port, protocol="HTTPS", hostname=name, secret=name)
        for name in names
    )
    site.plane.write("gateway.yaml", *site.gateway(first))
    site.plane.write(
        "shop.yaml", *await site.service("shop"), http_route("shop", rule("shop"), hostnames=[*names])
    )
    await net.until("HTTPS served", lambda: _answers(port, authority))
    context = authority.client_context()
    async with (
        Load(port, HOST, tls=context) as kept,
        Load(port, HOST, tls=context, fresh=True, connections=2) as fresh,
    ):
        for _ in range(3):
            site.plane.write("gateway.yaml", *site.gateway(first, second))
            await net.until("the second name served", lambda: _answers(port, authority, names[1]))
            await kept.more(150)
            site.plane.write("gateway.yaml", *site.gateway(first))
            await net.until("the second name gone", lambda: _turned_away(port, authority, names[1]))
            await kept.more(150)
        await kept.more(max(0, 1500 - kept.done))
    assert not kept.failures, dict(kept.failures)
    assert not fresh.failures, dict(fresh.failures)
    assert kept.opened == kept.connections, "connections that were open have been replaced"


async def _answers(port: int, authority: Authority, name: str = HOST) -> bool:
    async with Load(port, name, tls=authority.client_context(), connections=1, warm=1) as load:
        pass
    return not load.failures


async def _turned_away(port: int, authority: Authority, name: str) -> bool:
    return not await _answers(port, authority, name)
