"""ClientPolicies through the real Envoy: addresses, headers, paths, timeouts, limits of connections."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import h2.connection
import h2.events
import h2.settings
import pytest
import pytest_asyncio

from tests.envoy import client_site
from tests.envoy.client_site import Clients, client_policy
from tests.harness import manifests, net
from tests.harness.load import read_reply

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

POLICIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "hops": {"clientAddress": {"trustedHops": 2}},
    "networks": {"clientAddress": {"trustedNetworks": ["127.0.0.0/8", "10.1.0.0/16"]}},
    "header": {"clientAddress": {"header": "CF-Connecting-IP"}},
    "required": {"clientAddress": {"header": "x-real-ip", "required": True}},
    "proxied": {"proxyProtocol": {"enabled": True}},
    "second": {"proxyProtocol": {"enabled": True, "versions": ["V2"]}},
    "either": {"proxyProtocol": {"enabled": True, "optional": True}},
    "small": {"headers": {"maxBytes": 2048, "maxCount": 12}},
    "reject": {"headers": {"underscores": "Reject"}},
    "allow": {"headers": {"underscores": "Allow"}},
    "keep": {"paths": {"escapedSlashes": "Keep", "mergeSlashes": False, "normalize": False}},
    "refuse": {"paths": {"escapedSlashes": "Reject"}},
    "unescape": {"paths": {"escapedSlashes": "Unescape"}},
    "early": {
        "earlyHeaders": {
            "set": [{"name": "x-lane", "value": "100%"}],
            "add": [{"name": "x-more", "value": "b"}],
            "remove": ["x-secret"],
        }
    },
    "quick": {"timeouts": {"requestHeaders": "300ms", "idle": "1s"}},
    "slow": {"timeouts": {"request": "500ms", "streamIdle": "0s"}},
    "dull": {"timeouts": {"streamIdle": "500ms"}},
    "two": {"connections": {"max": 2}},
    "few": {"connections": {"maxRequests": 2}},
    "short": {"connections": {"maxDuration": "500ms"}},
    "narrow": {"http2": {"maxConcurrentStreams": 3, "resetBurst": 5, "resetsPerSecond": 1}},
    "old": {"http1": {"http10": True, "defaultHost": "old.example", "preserveCase": True}},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(envoy_binary: Path) -> AsyncIterator[Clients]:
    policies = [client_policy(spec, section=name) for name, spec in POLICIES.items() if spec]
    lane = manifests.http_route("lane", manifests.rule("v1"), hostnames=["early.example"])
    lane["spec"]["rules"][0] |= {
        "matches": [{"headers": [{"name": "x-lane", "value": "100%"}]}],
        "filters": [
            {
                "type": "RequestHeaderModifier",
                "requestHeaderModifier": {"set": [{"name": "x-via", "value": "lane"}]},
            }
        ],
    }
    async with client_site.running(envoy_binary, dict.fromkeys(POLICIES, "HTTP"), policies, [lane]) as made:
        assert made.pipeline.diagnostics() == []
        yield made


def before_own(seen: dict[str, Any]) -> str:
    """x-forwarded-for without what Envoy adds: its peer, or the machine's address for loopback."""
    (found,) = seen["headers"]["X-Forwarded-For"]
    return str(found).rpartition(",")[0]


async def test_without_a_policy_clients_are_not_believed(site: Clients) -> None:
    seen = await site.seen(
        "plain", "X-Forwarded-For: 203.0.113.9", "X-Envoy-External-Address: 203.0.113.9", "x_secret: 1"
    )
    assert before_own(seen) == "203.0.113.9"
    assert seen["headers"]["X-Envoy-External-Address"] == ["127.0.0.1"]
    assert "X_secret" not in seen["headers"]


async def test_hops_are_counted_from_the_end(site: Clients) -> None:
    seen = await site.seen("hops", "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.0.0.1")
    assert seen["headers"]["X-Envoy-External-Address"] == ["203.0.113.9"]
    assert before_own(seen) == "6.6.6.6, 203.0.113.9, 10.0.0.1"


SPOOFED = (
    "X-Envoy-External-Address: 6.6.6.6",
    "X-Envoy-Decorator-Operation: x",
    "X-Envoy-Downstream-Service-Cluster: x",
    "X-Envoy-Internal: true",
    "X-Envoy-Retry-On: 5xx",
    "X-Envoy-Upstream-Rq-Timeout-Ms: 1",
)


def envoy_headers(seen: dict[str, Any]) -> dict[str, list[str]]:
    return {name: value for name, value in seen["headers"].items() if name.startswith("X-Envoy")}


async def test_only_a_proxy_in_front_may_say_how_a_client_came(site: Clients) -> None:
    for listener, told in (("plain", "http"), ("hops", "https"), ("networks", "https"), ("header", "https")):
        seen = await site.seen(listener, "X-Forwarded-Proto: https")
        assert seen["headers"]["X-Forwarded-Proto"] == [told], listener


async def test_trusted_networks_are_passed_over(site: Clients) -> None:
    seen = await site.seen("networks", "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.1.0.7")
    assert seen["headers"]["X-Envoy-External-Address"] == ["203.0.113.9"]
    assert before_own(seen) == "6.6.6.6, 203.0.113.9, 10.1.0.7"


async def test_the_address_may_be_in_a_header_of_its_own(site: Clients) -> None:
    seen = await site.seen("header", "CF-Connecting-IP: 203.0.113.9")
    assert seen["headers"]["X-Envoy-External-Address"] == ["203.0.113.9"]
    assert (await site.ask("required")).status == 403
    assert (await site.ask("required", "X-Real-IP: 203.0.113.9")).status == 200


@pytest.mark.parametrize("listener", ["plain", "hops", "networks", "header"])
async def test_clients_have_no_say_in_envoys_own_headers(site: Clients, listener: str) -> None:
    seen = await site.seen(listener, *SPOOFED)
    assert "6.6.6.6" not in str(seen)
    assert set(envoy_headers(seen)) == {"X-Envoy-External-Address"}


def version_2(source: str) -> bytes:
    """A PROXY header of version 2 for TCP over IPv4."""
    places = ipaddress.ip_address(source).packed + b"\x7f\0\0\1" + (1234).to_bytes(2) + (80).to_bytes(2)
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + len(places).to_bytes(2) + places


VERSION_1 = b"PROXY TCP4 203.0.113.9 127.0.0.1 1234 80\r\n"


async def behind(site: Clients, listener: str, head: bytes) -> str:
    """The address that the backend hears of; "" where the connection is closed instead."""
    connection = await site.connect(listener)
    connection.writer.write(head)
    try:
        reply = await connection.ask(host=f"{listener}.example")
    except (OSError, EOFError):
        return ""
    found: list[str] = json.loads(reply.body)["headers"]["X-Envoy-External-Address"]
    return found[0]


async def test_proxy_protocol(site: Clients) -> None:
    assert await behind(site, "proxied", VERSION_1) == "203.0.113.9"
    assert await behind(site, "proxied", version_2("203.0.113.8")) == "203.0.113.8"
    assert await behind(site, "proxied", b"") == ""
    assert await behind(site, "second", version_2("203.0.113.8")) == "203.0.113.8"
    assert await behind(site, "second", VERSION_1) == ""
    assert await behind(site, "either", VERSION_1) == "203.0.113.9"
    assert await behind(site, "either", b"") not in ("", "203.0.113.9")


async def test_limits_of_headers(site: Clients) -> None:
    assert (await site.ask("small", "X-A: " + "a" * 1500)).status == 200
    assert (await site.ask("small", "X-A: " + "a" * 2500)).status == 431
    assert (await site.ask("small", *(f"x-{n}: 1" for n in range(13)))).status == 431
    assert (await site.ask("plain", "X-A: " + "a" * 2500, *(f"x-{n}: 1" for n in range(13)))).status == 200


async def test_underscores(site: Clients) -> None:
    assert (await site.ask("reject", "x_user: 1")).status == 400
    assert (await site.seen("allow", "x_user: 1"))["headers"]["X_user"] == ["1"]


async def test_paths(site: Clients) -> None:
    asked = "/a%2Fb//c/../d"
    plain = await site.ask("plain", path=asked)
    assert (plain.status, plain.headers["location"]) == (307, "/a/b/d")
    assert (await site.seen("keep", path=asked))["path"] == asked
    assert (await site.ask("refuse", path=asked)).status == 400
    assert (await site.seen("unescape", path=asked))["path"] == "/a/b/d"


async def test_headers_are_changed_before_routes_are_chosen(site: Clients) -> None:
    seen = await site.seen("early", "x-secret: 1", "x-lane: mine", "x-more: a")
    headers = seen["headers"]
    assert headers["X-Via"] == ["lane"]
    assert headers["X-Lane"] == ["100%"]
    assert headers["X-More"] == ["a", "b"]
    assert "X-Secret" not in headers
    assert "X-Via" not in (await site.seen("plain", "x-lane: 1"))["headers"]


async def test_a_slow_request_is_told(site: Clients) -> None:
    connection = await site.connect("quick")
    connection.writer.write(b"GET / HTTP/1.1\r\nHost: quick.example\r\n")
    assert (await read_reply(connection.reader)).status == 408
    connection = await site.connect("slow")
    connection.writer.write(b"POST / HTTP/1.1\r\nHost: slow.example\r\nContent-Length: 9\r\n\r\nabc")
    assert (await read_reply(connection.reader)).status == 408


async def test_an_idle_stream_ends(site: Clients) -> None:
    assert (await site.ask("dull", path="/?delay=5s")).status == 504
    assert (await site.ask("slow", path="/?delay=1s")).status == 200


async def test_an_idle_connection_ends(site: Clients) -> None:
    connection, other = await site.connect("quick"), await site.connect("plain")
    assert (await connection.ask(host="quick.example")).status == 200
    assert (await other.ask(host="plain.example")).status == 200
    assert await connection.ended()
    assert (await other.ask(host="plain.example")).status == 200


async def test_the_third_connection_is_one_too_many(site: Clients) -> None:
    held = [await site.connect("two") for _ in range(2)]
    for connection in held:
        assert (await connection.ask(host="two.example")).status == 200
    third = await site.connect("two")
    assert await third.ended()
    assert (await held[0].ask(host="two.example")).status == 200
    for connection in held:
        connection.close()

    async def admitted() -> bool:
        try:
            return (await site.ask("two")).status == 200
        except (OSError, EOFError):
            return False

    await net.until("room for another connection", admitted)


async def test_a_connection_has_so_many_requests(site: Clients) -> None:
    connection = await site.connect("few")
    assert "connection" not in (await connection.ask(host="few.example")).headers
    last = await connection.ask(host="few.example")
    assert (last.status, last.headers["connection"]) == (200, "close")
    assert await connection.ended()


async def test_a_connection_gets_so_old(site: Clients) -> None:
    connection, other = await site.connect("short"), await site.connect("plain")

    async def told_to_go() -> bool:
        reply = await connection.ask(host="short.example")
        assert reply.status == 200
        return reply.headers.get("connection") == "close"

    await net.until("it is too old", told_to_go, pause=0.1)
    assert await connection.ended()
    reply = await other.ask(host="plain.example")
    assert (reply.status, "connection" in reply.headers) == (200, False)


async def test_old_clients(site: Clients) -> None:
    old = await site.connect("old")
    assert (await old.ask(host="-", version="1.0")).status == 200
    refused = await site.connect("plain")
    assert (await refused.ask(host="plain.example", version="1.0")).status == 426


async def test_the_case_of_headers(site: Clients) -> None:
    """As the wire has it: the backend's own record of names."""
    await site.ask("old", "X-MiXed: 1")
    await site.ask("plain", "X-PlAin: 1")
    names = [name for request in site.requests for name, _ in request.headers]
    assert "X-MiXed" in names
    assert "x-plain" in names


class Http2:
    """An HTTP/2 connection with prior knowledge."""

    def __init__(self, connection: client_site.RawClient) -> None:
        self._connection = connection
        self.state = h2.connection.H2Connection()
        self.state.initiate_connection()

    async def flush(self) -> None:
        self._connection.writer.write(self.state.data_to_send())
        await self._connection.writer.drain()

    async def settled(self) -> None:
        """Returns when the server's settings are there."""
        await self.flush()
        while not any(
            isinstance(event, h2.events.RemoteSettingsChanged)
            for event in self.state.receive_data(await self._connection.reader.read(65536))
        ):
            pass

    async def give_up(self, host: str) -> bool:
        """Breaks off a request; whether the server has ended the connection."""
        stream = self.state.get_next_available_stream_id()
        names = (":method", ":path", ":scheme", ":authority")
        self.state.send_headers(stream, list(zip(names, ("GET", "/", "http", host), strict=True)))
        self.state.reset_stream(stream)
        self.state.ping(b"12345678")
        await self.flush()
        while data := await self._connection.reader.read(65536):
            kinds = set(map(type, self.state.receive_data(data)))
            if h2.events.ConnectionTerminated in kinds:
                return True
            if h2.events.PingAckReceived in kinds:
                return False
        return True


async def test_limits_of_http2(site: Clients) -> None:
    narrow, plain = Http2(await site.connect("narrow")), Http2(await site.connect("plain"))
    for one in (narrow, plain):
        await one.settled()
    most = h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS
    assert (narrow.state.remote_settings[most], plain.state.remote_settings[most]) == (3, 100)
    given_up = {}
    for name, one in (("narrow", narrow), ("plain", plain)):
        given_up[name] = 1
        while given_up[name] < 60 and not await one.give_up(f"{name}.example"):
            given_up[name] += 1
    assert given_up["narrow"] < 15 < given_up["plain"]
