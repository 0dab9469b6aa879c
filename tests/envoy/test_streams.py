"""Connections, datagrams and gRPC calls through a real Envoy, as `dragoman run` configures it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from tests.harness import manifests, net
from tests.harness.certs import Authority, Pair
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

GATEWAY_API = "gateway.networking.k8s.io/v1"
AUTHORITY = Authority("streams")
STRANGERS = Authority("strangers")
NAME = "calls.example"


def backend(name: str, port: int) -> manifests.Body:
    return {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "Backend",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"endpoints": [{"address": "127.0.0.1", "port": port}]},
    }


def route(kind: str, section: str, *backends: tuple[str, int], **spec: Any) -> manifests.Body:
    refs = [{"group": "dragoman.dev", "kind": "Backend", "name": n, "weight": w} for n, w in backends]
    return {
        "apiVersion": GATEWAY_API,
        "kind": kind,
        "metadata": {"name": f"{kind.lower()}-{section}", "namespace": "shop"},
        "spec": {
            "parentRefs": [{"name": "edge", "sectionName": section}],
            "rules": [{"backendRefs": refs}],
            **spec,
        },
    }


class Datagrams(asyncio.DatagramProtocol):
    """Answers every datagram with its name."""

    def __init__(self, name: str) -> None:
        self._name = name.encode()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self._transport.sendto(self._name, address)


@contextlib.asynccontextmanager
async def named(name: str) -> AsyncIterator[int]:
    """A TCP and a UDP server on one port that say their name."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(name.encode())
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: Datagrams(name), local_addr=("127.0.0.1", port)
    )
    try:
        yield port
    finally:
        transport.close()
        server.close()


async def connected(port: int) -> str:
    """Who answers a connection; `closed` for nobody, `refused` where nothing listens."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return "refused"
    try:
        return (await asyncio.wait_for(reader.read(), 10)).decode() or "closed"
    except ConnectionResetError:
        return "closed"
    finally:
        writer.close()


async def sent(port: int) -> str:
    """Who answers a datagram; `lost` for nobody."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect(("127.0.0.1", port))
        await loop.sock_sendall(client, b"?")
        try:
            return (await asyncio.wait_for(loop.sock_recv(client, 100), 0.5)).decode()
        except (TimeoutError, ConnectionRefusedError):
            return "lost"


async def test_connections_and_datagrams_are_shared_out_and_follow_changes(site: Site) -> None:
    port = net.free_port()
    async with named("one") as one, named("two") as two:
        listeners = [manifests.listener(p.lower(), port, protocol=p) for p in ("TCP", "UDP")]
        site.plane.write("backends.yaml", backend("one", one), backend("two", two))
        shares = (("one", 2), ("two", 1), ("gone", 1))
        site.plane.write("routes.yaml", route("TCPRoute", "tcp", *shares), route("UDPRoute", "udp", *shares))
        site.plane.write("gateway.yaml", *site.gateway(*listeners))

        async def shared() -> bool:
            return {await connected(port) for _ in range(30)} == {"one", "two", "closed"}

        await net.until("three shares", shared)
        for ask, nobody in ((connected, "closed"), (sent, "lost")):
            found = Counter(await asyncio.gather(*(ask(port) for _ in range(200))))
            assert set(found) == {"one", "two", nobody}
            assert found["one"] > max(found["two"], found[nobody])

        site.plane.write(
            "routes.yaml", route("TCPRoute", "tcp", ("two", 1)), route("UDPRoute", "udp", ("two", 1))
        )

        async def moved() -> bool:
            connections = {await connected(port) for _ in range(10)}
            return connections == {"two"} and {await sent(port) for _ in range(5)} == {"two"}

        await net.until("everything goes to the other", moved)
        site.plane.remove("routes.yaml")

        async def closed() -> bool:
            return await connected(port) == "closed"

        await net.until("the port stays, and connections are closed", closed)


class Calls(grpc.GenericRpcHandler):
    """`/echo.Echo/Name` over plain HTTP/2."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        async def answer(_: bytes, __: object) -> bytes:
            return b"here"

        known = details.method == "/echo.Echo/Name"
        return grpc.unary_unary_rpc_method_handler(answer) if known else None


async def call(port: int, client: Pair | None = None, method: str = "Name") -> str:
    """The answer, or the name of the status."""
    pair = (client.key.encode(), client.certificate.encode()) if client is not None else (None, None)
    credentials = grpc.ssl_channel_credentials(AUTHORITY.pem.encode(), *pair)
    options = [("grpc.ssl_target_name_override", NAME), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        try:
            return (await channel.unary_unary(f"/echo.Echo/{method}")(b"", timeout=10)).decode()
        except grpc.aio.AioRpcError as failure:
            return failure.code().name


async def test_calls_over_tls_with_clients_certificates(site: Site) -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Calls(),))
    calls = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    lax, strict = net.free_port(), net.free_port()
    pair = AUTHORITY.issue(NAME)
    trusted = {"caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}]}
    listeners = [
        manifests.listener(name, port, protocol="HTTPS", hostname=NAME, secret="calls")
        for name, port in (("lax", lax), ("strict", strict))
    ]
    objects = site.gateway(*listeners)
    objects[1]["spec"]["tls"] = {
        "frontend": {
            "default": {"validation": trusted},
            "perPort": [{"port": lax, "tls": {"validation": {**trusted, "mode": "AllowInsecureFallback"}}}],
        }
    }
    authority = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "ca", "namespace": "shop"},
        "data": {"ca.crt": AUTHORITY.pem},
    }
    wanted = route("GRPCRoute", "lax", ("calls", 1))
    wanted["spec"]["parentRefs"] = [{"name": "edge"}]
    wanted["spec"]["rules"][0]["matches"] = [{"method": {"service": "echo.Echo", "method": "Name"}}]
    site.plane.write("secrets.yaml", manifests.tls_secret("calls", pair.certificate, pair.key), authority)
    site.plane.write("routes.yaml", wanted, backend("calls", calls))
    site.plane.write("gateway.yaml", *objects)
    known, stranger = AUTHORITY.issue("client.example"), STRANGERS.issue("client.example")

    async def served() -> bool:
        return [await call(port, known) for port in (lax, strict)] == ["here", "here"]

    await net.until("calls are answered", served)
    assert [await call(lax), await call(lax, stranger)] == ["here", "here"]
    assert [await call(strict), await call(strict, stranger)] == ["UNAVAILABLE", "UNAVAILABLE"]
    assert await call(strict, known, "Other") == "UNIMPLEMENTED"
    await server.stop(0)
