"""grpcio's own xDS client, an independent implementation: it asks for all it wants by name, in SotW."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio

from dragoman.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE
from dragoman.xds.ledger import Status
from tests.harness import net
from tests.wire import plane


@contextlib.asynccontextmanager
async def echo(name: str) -> AsyncIterator[int]:
    """A gRPC service that answers with its name."""

    async def answer(request: bytes, context: object) -> bytes:
        return name.encode()

    server = grpc.aio.server()
    handlers = {"Name": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.Echo", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


class Client:
    """The client process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def call(self, target: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{target}\n".encode())
        return (await asyncio.wait_for(self._process.stdout.readline(), 30)).decode().strip()


@contextlib.asynccontextmanager
async def client(port: int, folder: Path) -> AsyncIterator[Client]:
    bootstrap = {
        "xds_servers": [
            {
                "server_uri": f"127.0.0.1:{port}",
                "channel_creds": [{"type": "insecure"}],
                "server_features": ["xds_v3"],
            }
        ],
        "node": {"id": "grpc-1", "metadata": {"gateways": "shop/edge"}},
    }
    path = folder / "bootstrap.json"
    path.write_text(json.dumps(bootstrap))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("grpc_client.py")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "GRPC_XDS_BOOTSTRAP": str(path)},
    )
    try:
        yield Client(process)
    finally:
        process.terminate()
        await process.wait()


async def test_grpc_routes_by_what_it_is_served_and_follows_changes(tmp_path: Path) -> None:
    async with (
        echo("one") as one,
        echo("two") as two,
        plane.plane(
            plane.api_listener("shop", "r"),
            plane.route("r", "a"),
            plane.cluster("a"),
            plane.endpoints("a", one),
        ) as running,
        client(running.port, tmp_path) as grpc_client,
    ):
        assert await grpc_client.call("shop") == "one"
        await net.until("synced", lambda: running.ledger.proxies()[0].status is Status.SYNCED)
        [proxy] = running.ledger.proxies()
        assert set(proxy.types) == {LISTENER, ROUTE, CLUSTER, ENDPOINT}
        assert not any(state.wildcard for state in proxy.types.values())
        assert "gRPC" in proxy.node.user_agent

        plane.put(running.view, plane.endpoints("a", two))
        await reaches(grpc_client, "two")

        # It learns of `b` from the route, so the route may not wait for the cluster.
        plane.put(running.view, plane.cluster("b"), plane.endpoints("b", one), plane.route("r", "b"))
        plane.put(running.view, gone=[(CLUSTER, "a"), (ENDPOINT, "a")])
        await reaches(grpc_client, "one")

        await net.until("synced", lambda: running.ledger.proxies()[0].status is Status.SYNCED)
        assert all(state.nacks == 0 for state in running.ledger.proxies()[0].types.values())


async def test_grpc_hears_of_a_listener_that_comes_later(tmp_path: Path) -> None:
    async with (
        echo("one") as one,
        plane.plane() as running,
        client(running.port, tmp_path) as grpc_client,
    ):
        assert await grpc_client.call("shop") != "one"
        plane.put(
            running.view,
            plane.api_listener("shop", "r"),
            plane.route("r", "a"),
            plane.cluster("a"),
            plane.endpoints("a", one),
        )
        await reaches(grpc_client, "one")


async def reaches(grpc_client: Client, name: str) -> None:
    async def answered() -> bool:
        return await grpc_client.call("shop") == name

    await net.until(f"an answer from {name}", answered, limit=40)
