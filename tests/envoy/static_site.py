"""A real Envoy on what the encoders made, without a control plane: IR in, requests out."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dragoman import proto, resource
from dragoman.envoy import clusters, endpoints, inner, listeners, process, routes, shape, static
from dragoman.envoy.admin import Admin
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.cluster import v3 as cluster_proto
from tests.harness import net
from tests.harness.backend import Backend
from tests.harness.echo import Echo, Identity
from tests.harness.load import Reply, read_reply

BACKENDS = ("v1", "v2", "v3")
Hosts = Mapping[str, Sequence[ir.Route]]


def table(scope: ir.Scope, hosts: Hosts, misdirected: Sequence[str] = ()) -> resource.Resource:
    """A route table as the pipeline makes it."""
    buckets: dict[int, list[routes.HostChunk]] = {}
    for domain, items in {**hosts, **dict.fromkeys(misdirected, ())}.items():
        encoded = [routes.encode_route(item, scope) for item in items]
        made = routes.encode_virtual_host(scope, domain, encoded, domain in misdirected)
        buckets.setdefault(shape.bucket(domain), []).append(made)
    return shape.route_configuration(scope, {n: shape.encode_bucket(found) for n, found in buckets.items()})


@dataclass(slots=True)
class StaticSite:
    """Envoy and its backends. `port` is that of the plain listener."""

    port: int
    admin: Admin
    tls_port: int = 0
    backends: dict[str, Backend] = field(default_factory=dict)

    async def ask(
        self, path: str = "/", host: str = "shop.example", method: str = "GET", **headers: str
    ) -> Reply:
        """One request on a connection of its own. Underscores in header names without hyphens are hyphens."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        return await exchange(reader, writer, path, host, method, **headers)

    async def seen(self, path: str = "/", host: str = "shop.example", **headers: str) -> dict[str, Any]:
        """The request as the backend saw it."""
        reply = await self.ask(path, host, **headers)
        assert reply.status == 200, reply
        found: dict[str, Any] = json.loads(reply.body)
        return found


async def upload(port: int, path: str, host: str, size: int) -> Reply:
    """A POST with a body of that many bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {size}\r\n\r\n".encode())
        writer.write(b"x" * size)
        return await read_reply(reader)
    finally:
        writer.close()


async def exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    path: str,
    host: str,
    method: str = "GET",
    **headers: str,
) -> Reply:
    """One request, and the end of the connection."""
    try:
        names = {name: name if "-" in name else name.replace("_", "-") for name in headers}
        lines = [f"{names[name]}: {value}\r\n" for name, value in headers.items()]
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{''.join(lines)}\r\n".encode())
        return await read_reply(reader)
    finally:
        writer.close()


async def tls(port: int, name: str, *, version: ssl.TLSVersion | None = None, ciphers: str = "") -> Any:
    """A TLS connection that believes everything: reader and writer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version is not None:
        context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    return await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)


Also = Callable[[dict[str, ir.Endpoint]], list[resource.Resource]]


def closed(name: str, place: ir.Endpoint) -> list[resource.Resource]:
    """A cluster in `shop` whose circuit breaker lets nothing pass."""
    first, *others = service(name, [place])
    message = cluster_proto.Cluster.FromString(first.payload)
    message.circuit_breakers.thresholds[0].max_requests.value = 0
    return [resource.make(resource.CLUSTER, first.name, proto.serialize(message), {}), *others]


def service(name: str, found: Sequence[ir.Endpoint], **more: Any) -> list[resource.Resource]:
    """A cluster in `shop` and its endpoints."""
    from tests.unit.envoy.build import cluster

    key = cluster(name)
    return [
        clusters.encode(ir.Cluster(key, ir.Discovery.EDS, **more)),
        endpoints.encode(ir.EndpointSet(key, tuple(found))),
    ]


@asynccontextmanager
async def running(
    binary: Path,
    hosts: Hosts,
    more: Sequence[resource.Resource] = (),
    *,
    backends: Sequence[str] = BACKENDS,
    also: Also = lambda _: [],
) -> AsyncIterator[StaticSite]:
    """Envoy on `hosts` and `more`; the services v1, v2, v3 answer, `all` is the three of them. `also`: more
    that needs to know where the backends are."""
    async with AsyncExitStack() as stack:
        site = StaticSite(net.free_port(), Admin(port=net.free_port()))
        for name in backends:
            site.backends[name] = await stack.enter_async_context(Backend(Echo(Identity(name))))
        bind = ir.Bind("127.0.0.1", site.port)
        scope = ir.Scope(bind)
        places = {name: ir.Endpoint("127.0.0.1", each.port) for name, each in site.backends.items()}
        resources = [
            (made := table(scope, hosts, ["misdirected.example"])),
            *((inner.listener(scope), inner.cluster(scope)) if made.refers(resource.LISTENER) else ()),
            listeners.encode(ir.Listener(bind, (ir.FilterChain("", None, scope),))),
            *more,
            *service("all", list(places.values())),
            *also(places),
        ]
        for name, place in places.items():
            resources += service(name, [place])
        bootstrap = proto.serialize(static.bootstrap(resources, site.admin))
        envoy = await stack.enter_async_context(
            process.running(bootstrap, binary=binary, admin=site.admin, concurrency=1)
        )
        await envoy.ready()
        yield site
