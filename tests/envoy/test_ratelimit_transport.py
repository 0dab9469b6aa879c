"""The real Envoy asks both transports: decisions, late answers, ages, TLS, a restart. Whatever goes wrong on
the way to the service is a 500 here (`failure_mode_deny`)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dragoman.proto.envoy.service.ratelimit import v3 as rls
from dragoman.ratelimit.transport import base, grpc_aio, http2
from tests.harness import net
from tests.harness.backend import Backend
from tests.harness.certs import Authority
from tests.harness.echo import Echo, Identity
from tests.harness.envoy import Envoy
from tests.harness.load import Load, Reply, read_reply

pytestmark = pytest.mark.envoy

METHOD = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
KINDS = {"thin": http2.Server, "aio": grpc_aio.Server}
AUTHORITY = Authority("rls")
HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
Json = dict[str, Any]


def typed(name: str, **fields: Any) -> Json:
    return {"@type": f"type.googleapis.com/{name}", **fields}


def cluster(name: str, address: Json, **more: Any) -> Json:
    endpoint = {"endpoint": {"address": address}}
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}
    return {"name": name, "type": "STATIC", "connect_timeout": "2s", "load_assignment": assignment, **more}


def tcp(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def bootstrap(port: int, backend: int, service: Json, **more: Any) -> Json:
    """A listener that asks `service` with the header x-user, in front of `backend`."""
    filters = "envoy.extensions.filters.http"
    limit = {
        "domain": "test",
        "timeout": "5s",
        "failure_mode_deny": True,
        "rate_limit_service": {
            "transport_api_version": "V3",
            "grpc_service": {"envoy_grpc": {"cluster_name": "rls"}},
        },
    }
    action = {"request_headers": {"header_name": "x-user", "descriptor_key": "user"}}
    route = {"cluster": "backend", "rate_limits": [{"actions": [action]}]}
    manager = typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="test",
        route_config={
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}
            ]
        },
        http_filters=[
            {"name": "ratelimit", "typed_config": typed(f"{filters}.ratelimit.v3.RateLimit", **limit)},
            {"name": "router", "typed_config": typed(f"{filters}.router.v3.Router")},
        ],
    )
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    h2 = {HTTP: typed(HTTP, explicit_http_config={"http2_protocol_options": {}})}
    rls_cluster = cluster("rls", service, typed_extension_protocol_options=h2, **more)
    return {
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": tcp(net.free_port())},
        "static_resources": {
            "listeners": [{"name": "http", "address": tcp(port), "filter_chains": [chain]}],
            "clusters": [cluster("backend", tcp(backend)), rls_cluster],
        },
    }


def decide(message: bytes, call: base.Call) -> base.Answer:
    """Users named bad are over the limit; for slow ones the answer comes later."""
    request = rls.RateLimitRequest.FromString(message)
    user = request.descriptors[0].entries[0].value
    response = rls.RateLimitResponse(overall_code=_code(user))
    if user.startswith("slow"):
        loop = asyncio.get_running_loop()
        loop.call_later(0.02, call.finish, response.SerializeToString())
        return base.LATER
    return response.SerializeToString()


def _code(user: str) -> rls.RateLimitResponse.Code:
    code = rls.RateLimitResponse.Code
    return code.OVER_LIMIT if user.endswith("bad") else code.OK


@contextlib.asynccontextmanager
async def running(server: base.Server) -> AsyncIterator[Json]:
    """The address of a started server."""
    port = await server.start()
    try:
        yield tcp(port)
    finally:
        await server.stop(0.1)


@contextlib.asynccontextmanager
async def asking(folder: Path, service: Json, **more: Any) -> AsyncIterator[tuple[int, Envoy]]:
    """An Envoy in front of a backend; its port."""
    port = net.free_port()
    backend = Backend(Echo(Identity("one")))
    async with backend, Envoy(bootstrap(port, backend.port, service, **more), folder) as envoy:
        yield port, envoy


async def ask(port: int, user: str) -> Reply:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET / HTTP/1.1\r\nhost: shop\r\nx-user: {user}\r\n\r\n".encode())
        return await read_reply(reader)
    finally:
        writer.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_envoy_gets_its_decisions(kind: str, tmp_path: Path, envoy_binary: Path) -> None:
    server = KINDS[kind](base.Settings(), {METHOD: decide})
    async with running(server) as address, asking(tmp_path, address) as (port, envoy):
        users = ["good", "bad", "slow-good", "slow-bad"] * 25
        replies = await asyncio.gather(*(ask(port, user) for user in users))
        expected = [429 if user.endswith("bad") else 200 for user in users]
        assert [reply.status for reply in replies] == expected
        found = await envoy.stats(r"^cluster\.backend\.ratelimit\.")
        assert found == {"cluster.backend.ratelimit.ok": 50, "cluster.backend.ratelimit.over_limit": 50}
        counts = await envoy.stats(
            r"^cluster\.rls\.(upstream_cx_protocol_error|upstream_rq_rx_reset|http2\.rx_.*)$"
        )
        assert not any(counts.values()), counts


@pytest.mark.parametrize("kind", KINDS)
async def test_no_call_fails_when_connections_age(kind: str, tmp_path: Path, envoy_binary: Path) -> None:
    server = KINDS[kind](base.Settings(max_connection_age=0.2), {METHOD: decide})
    async with running(server) as address, asking(tmp_path, address) as (port, envoy):

        async def renewed() -> bool:
            counts = await envoy.stats(r"^cluster\.rls\.upstream_cx_total$")
            return counts["cluster.rls.upstream_cx_total"] >= 8

        async with SlowLoad(port, "shop", connections=8, pause=0.0) as load:
            await net.until("eight connections", renewed)
            assert not load.failures


class SlowLoad(Load):
    """Load whose answers the service gives later."""

    def __init__(self, port: int, host: str, **more: Any) -> None:
        # The host goes into the request as it is: there is room for a header.
        super().__init__(port, f"{host}\r\nx-user: slow-good", **more)


async def test_envoy_over_mutual_tls_and_a_new_certificate(tmp_path: Path, envoy_binary: Path) -> None:
    def replace(authority: Authority) -> base.Tls:
        pair = authority.issue("rls.example")
        for name, text in {"crt": pair.certificate, "key": pair.key, "ca": AUTHORITY.pem}.items():
            (tmp_path / f"{name}.new").write_text(text)
            (tmp_path / f"{name}.new").rename(tmp_path / f"tls.{name}")
        return base.Tls(*(tmp_path / f"tls.{name}" for name in ("crt", "key", "ca")))

    peers: set[tuple[str, ...]] = set()

    def known(message: bytes, call: base.Call) -> base.Answer:
        peers.add(call.peer.names)
        return decide(message, call)

    settings = base.Settings(tls=replace(AUTHORITY), max_connection_age=0.2)
    server = http2.Server(settings, {METHOD: known})
    client = AUTHORITY.issue("envoy.example")
    context = typed(
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        sni="rls.example",
        common_tls_context={
            "tls_certificates": [
                {
                    "certificate_chain": {"inline_string": client.certificate},
                    "private_key": {"inline_string": client.key},
                }
            ],
            "validation_context": {"trusted_ca": {"inline_string": AUTHORITY.pem}},
        },
    )
    socket = {"name": "tls", "typed_config": context}
    async with running(server) as address, asking(tmp_path, address, transport_socket=socket) as (port, _):
        assert (await ask(port, "good")).status == 200
        assert (await ask(port, "bad")).status == 429
        assert peers == {("envoy.example",)}
        # Nobody that Envoy trusts: its next connection must fail.
        replace(Authority("strangers"))

        async def failing() -> bool:
            return (await ask(port, "good")).status == 500

        await net.until("the stranger's certificate", failing)


async def test_a_restart_behind_a_unix_socket(tmp_path: Path, envoy_binary: Path) -> None:
    settings = base.Settings(address=f"unix:{tmp_path}/rls.sock")
    first, second = (http2.Server(settings, {METHOD: decide}) for _ in range(2))
    async with asking(tmp_path, {"pipe": {"path": f"{tmp_path}/rls.sock"}}) as (port, _):
        async with running(first):
            assert (await ask(port, "bad")).status == 429
        assert (await ask(port, "bad")).status == 500
        async with running(second):

            async def back() -> bool:
                return (await ask(port, "bad")).status == 429

            await net.until("the second server", back)
