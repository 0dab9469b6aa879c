"""How connections to endpoints are made, through a real Envoy: protocols, PROXY headers, TLS, their ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness import manifests, net
from tests.harness.certs import Authority
from tests.harness.pods import ask, many, pod, policy, route, slices
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

HOST = "shop.example"
SHOP = ("Service", "shop")
AUTHORITY = Authority("backends")
STRANGERS = Authority("strangers")
NAME = "pay.example"


@contextlib.asynccontextmanager
async def listening(end: bytes = b"") -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that keeps what each connection begins with, up to `end` at least, and answers nothing."""
    found: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun = b""
        with contextlib.suppress(OSError):
            while data := await reader.read(300):
                begun += data
                if end in begun:
                    break
        found.append(begun)
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], found
    finally:
        server.close()


def served_by(port: int) -> list[manifests.Body]:
    """A Service in front of that port."""
    return [manifests.service("shop"), manifests.endpoint_slice("shop", port), route("shop", "shop")]


async def answered(site: Site, status: int) -> None:
    """Returns when requests are answered so."""

    async def so() -> bool:
        return (await ask(site.port, HOST)).status == status

    await net.until(f"answered {status}", so)


@pytest.mark.parametrize(
    ("version", "start"),
    [("V1", b"PROXY TCP4 127.0.0.1 127.0.0.1 "), ("V2", b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c")],
)
async def test_proxy_headers_come_first(site: Site, version: str, start: bytes) -> None:
    async with listening(b" HTTP/1.1\r\n") as (port, found):
        site.plane.write("policy.yaml", policy("p", *SHOP, connection={"proxyProtocol": version}))
        site.plane.write("shop.yaml", *served_by(port))
        await answered(site, 503)
        assert found[-1].startswith(start)
        if version == "V1":
            line, _, rest = found[-1].partition(b"\r\n")
            assert int(line.split()[5]) == site.port
            assert rest.startswith(b"GET / HTTP/1.1\r\n")


async def test_http2_whatever_the_service_says(site: Site) -> None:
    one = await pod(site, "one", protocol="h2c")
    http2 = {"maxConcurrentStreams": 10, "pingInterval": "30s"}
    site.plane.write("policy.yaml", policy("p", *SHOP, connection={"protocol": "HTTP2", "http2": http2}))
    site.plane.write("shop.yaml", *slices("shop", one), route("shop", "shop"))
    await site.served(HOST)
    assert json.loads((await ask(site.port, HOST)).body)["proto"] == "HTTP/2.0"


async def test_streams_of_one_connection(site: Site) -> None:
    """Six requests at once, two on each connection."""
    one = await pod(site, "one", protocol="h2c")
    spec = {"protocol": "HTTP2", "http2": {"maxConcurrentStreams": 2}}
    site.plane.write("policy.yaml", policy("p", *SHOP, connection=spec))
    site.plane.write("shop.yaml", *slices("shop", one), route("shop", "shop"))
    await site.served(HOST)
    asking = [asyncio.create_task(ask(site.port, HOST, "/?delay=800ms")) for _ in range(6)]
    await net.until("all under way", lambda: one.in_flight == 6)
    assert len(one.connections) == 3
    await asyncio.gather(*asking)


async def test_requests_of_one_connection_and_its_idle_end(site: Site) -> None:
    one = await pod(site, "one")
    opened: list[object] = []
    spec = {"connection": {"maxRequests": 5}, "timeouts": {"idle": "500ms"}}
    site.plane.write("policy.yaml", policy("p", *SHOP, **spec))
    site.plane.write("shop.yaml", *slices("shop", one), route("shop", "shop"))
    await site.served(HOST)
    await net.until("the idle connection closed", lambda: one.idle)
    for _ in range(20):
        await many(1, site.port, HOST)
        opened += [each for each in one.connections if each not in opened]
    assert len(opened) == 4
    await net.until("the idle connections closed", lambda: one.idle)


async def test_tcp_keepalive_is_on(site: Site) -> None:
    """Seen in the kernel's table of sockets: Envoy's towards the backend has a keepalive timer."""
    one = await pod(site, "one")
    site.plane.write("policy.yaml", policy("p", *SHOP, connection={"tcpKeepalive": {"idle": "77s"}}))
    site.plane.write("shop.yaml", *slices("shop", one), route("shop", "shop"))
    await site.served(HOST)
    # Columns of /proc/net/tcp: remote address, state (01: open), timer's kind (02: keepalive) and its end.
    lines = [line.split() for line in _table().splitlines()[1:]]
    timers = [line[5] for line in lines if line[2].endswith(f":{one.port:04X}") and line[3] == "01"]
    assert timers
    for timer in timers:
        kind, _, end = timer.partition(":")
        assert kind == "02"
        assert 60 * 100 < int(end, 16) <= 77 * 100


def _table() -> str:
    return Path("/proc/net/tcp").read_text()


def authority(name: str, given: Authority) -> manifests.Body:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "shop"},
        "data": {"ca.crt": given.pem},
    }


def server(
    folder: Path, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, *, mutual: bool = False
) -> ssl.SSLContext:
    """A server's side, for NAME."""
    context = AUTHORITY.issue(NAME).server_context(folder)
    context.maximum_version = newest
    if mutual:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=AUTHORITY.pem)
    return context


TRUST = {"hostname": NAME, "caCertificateRefs": [{"name": "ca"}]}


async def test_tls_is_spoken_and_checked(site: Site, tmp_path: Path) -> None:
    """With a certificate of our own; a stranger's authority, or another name, is not enough."""
    one = await pod(site, "one", tls=server(tmp_path, mutual=True))
    identity = AUTHORITY.issue("gateway.example")
    site.plane.write(
        "trust.yaml",
        authority("ca", AUTHORITY),
        authority("other", STRANGERS),
        manifests.tls_secret("identity", identity.certificate, identity.key),
    )
    spec = {**TRUST, "clientCertificateRef": {"name": "identity"}, "minimumVersion": "1.3"}
    site.plane.write("policy.yaml", policy("p", *SHOP, tls=spec))
    site.plane.write("shop.yaml", *slices("shop", one), route("shop", "shop"))
    await site.served(HOST)
    seen = json.loads((await ask(site.port, HOST)).body)["tls"]
    assert (seen["version"], seen["serverName"]) == ("TLSv1.3", NAME)
    assert len(seen["peerCertificates"]) == 1
    for wrong in (
        {**spec, "caCertificateRefs": [{"name": "other"}]},
        {**spec, "hostname": "other.example"},
        {**spec, "subjectAltNames": ["other.example"]},
    ):
        site.plane.write("policy.yaml", policy("p", *SHOP, tls=wrong))
        await answered(site, 503)
        site.plane.write("policy.yaml", policy("p", *SHOP, tls=spec))
        await answered(site, 200)


async def test_versions_of_tls(site: Site, tmp_path: Path) -> None:
    """A server that is no newer than 1.2: reached, unless 1.3 is asked for. (1.3 is spoken by who can.)"""
    one = await pod(site, "one", tls=server(tmp_path, ssl.TLSVersion.TLSv1_2))
    site.plane.write("trust.yaml", authority("ca", AUTHORITY))
    site.plane.write("policy.yaml", policy("p", *SHOP, tls=TRUST))
    site.plane.write("shop.yaml", *slices("shop", one), route("shop", "shop"))
    await site.served(HOST)
    site.plane.write("policy.yaml", policy("p", *SHOP, tls={**TRUST, "minimumVersion": "1.3"}))
    await answered(site, 503)
    asked = one.mood.asked
    assert await many(10, site.port, HOST) == {"503": 10}
    assert one.mood.asked == asked
    site.plane.write("policy.yaml", policy("p", *SHOP, tls={**TRUST, "maximumVersion": "1.2"}))
    await answered(site, 200)


async def test_health_checks_are_made_over_tls(site: Site, tmp_path: Path) -> None:
    one = await pod(site, "one", tls=server(tmp_path))
    check = {
        "http": {"path": "/healthz"},
        "interval": "100ms",
        "unhealthyThreshold": 1,
        "healthyThreshold": 1,
    }
    site.plane.write("trust.yaml", authority("ca", AUTHORITY))
    site.plane.write("policy.yaml", policy("p", *SHOP, tls=TRUST, healthCheck=check))
    site.plane.write("shop.yaml", *slices("shop", one), route("shop", "shop"))
    await site.served(HOST)
    assert one.mood.checked > 0
    one.mood.health = 500
    await answered(site, 503)


@pytest.mark.parametrize("target", [SHOP, ("Gateway", "edge")])
async def test_certificates_that_cannot_be_used_let_nothing_through(
    site: Site, target: tuple[str, str]
) -> None:
    """A 500, and no byte at the backend, which would have spoken plain text; healed when it is there."""
    async with listening() as (port, found):
        site.plane.write("policy.yaml", policy("p", *target, tls=TRUST))
        site.plane.write("shop.yaml", *served_by(port))
        await answered(site, 500)
        for _ in range(5):
            assert (await ask(site.port, HOST)).status == 500
        assert found == []
        site.plane.write("trust.yaml", authority("ca", AUTHORITY))
        await answered(site, 503)
        assert found
        assert all(each.startswith(b"\x16\x03") for each in found), "nothing but TLS handshakes"
        site.plane.remove("trust.yaml")
        await answered(site, 500)
        shown = {**TRUST, "clientCertificateRef": {"name": "missing"}}
        site.plane.write("trust.yaml", authority("ca", AUTHORITY))
        await answered(site, 503)
        site.plane.write("policy.yaml", policy("p", *target, tls=shown))
        await answered(site, 500)
