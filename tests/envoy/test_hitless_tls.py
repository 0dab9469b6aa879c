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


async def _answers(port: int, authority: Authority) -> bool:
    async with Load(port, HOST, tls=authority.client_context(), connections=1, warm=1) as load:
        pass
    return not load.failures
