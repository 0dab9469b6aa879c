"""`explain` says what Envoy does: the same route, backend, path, host and Location for thousands of requests.

Each world goes the whole way (documents, pipeline, snapshot) into a real Envoy. The route tables are made to
tell the route and the cluster in response headers; a listener of the same Envoy is every backend and tells
the path and the host that it was asked for.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

from dragoman import config, explain, proto, resource
from dragoman.envoy import process, scoping, static, trees
from dragoman.envoy.admin import Admin
from dragoman.envoy.scoping import Cut
from dragoman.graph.pipeline import Pipeline, shapes
from dragoman.ir.match import Outcome
from dragoman.ir.request import Request
from dragoman.proto.envoy.config.bootstrap import v3 as bootstrap_proto
from dragoman.proto.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from dragoman.xds.snapshot import Snapshot
from tests.envoy import agreement
from tests.harness import certs, net
from tests.harness.load import read_reply

pytestmark = pytest.mark.envoy

WORLDS = int(os.environ.get("DRAGOMAN_AGREEMENT_WORLDS", "8"))
PLAIN, GRPC, TLS, LANES = 480, 160, 120, 8


class Answer(NamedTuple):
    """What is compared. `cluster` is one of those in the other side's answer; empty: none."""

    status: int
    route: str
    cluster: str
    path: str
    host: str
    location: str


CLOSED = Answer(0, "", "", "", "", "")


@pytest.mark.parametrize(
    ("cut", "treed"),
    [(Cut.WHOLE, False), (Cut.COARSE, False), (Cut.FINE, False), (Cut.WHOLE, True)],
    ids=["plain", "scopes", "fine scopes", "trees"],
)
@pytest.mark.parametrize("seed", range(WORLDS))
async def test_explain_agrees_with_envoy(
    seed: int, cut: Cut, treed: bool, envoy_binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whatever shape routes are sent."""
    if treed:
        monkeypatch.setattr(trees, "LEAST", 1)
        monkeypatch.setattr(trees, "COPIES", 1000)
    if cut is Cut.FINE:
        monkeypatch.setattr(shapes, "FINE", 1)
        monkeypatch.setattr(shapes, "COPIES", 1_000_000)
    rng = Random(seed)
    plain, grpc = (net.free_port(), net.free_port()), net.free_port()
    tls, echo = net.free_port(), net.free_port()
    pair = certs.Authority().issue("a.test", "*.test")
    pipeline = Pipeline(config.Settings(gateways=config.Gateways(scoped_hosts=int(bool(cut)))))
    pipeline.load(agreement.documents(rng, plain, grpc, tls, echo, (pair.certificate, pair.key)))
    view, snapshot = pipeline.view(), pipeline.snapshot()
    assert {scoping.within(name)[1] for name in snapshot.resources(resource.SCOPE)} == {cut} - {Cut.WHOLE}
    tables = snapshot.resources(resource.ROUTE).values()
    assert (
        any(b"prefix_match_map" in each.payload or b":path" in each.payload for each in tables) or not treed
    )
    requests = [agreement.plain_request(rng, plain) for _ in range(PLAIN)]
    requests += [agreement.grpc_request(rng, grpc) for _ in range(GRPC)]
    handshakes = [name for name in agreement.NAMES for _ in range(2)]
    secure = [
        (name, [agreement.tls_request(rng, tls, name) for _ in range(TLS // len(handshakes))])
        for name in handshakes
    ]

    async with serving(snapshot, echo, envoy_binary):
        lanes = [requests[lane::LANES] for lane in range(LANES)]
        answers = await asyncio.gather(
            *(ask(found, lambda request: connect(request.port)) for found in lanes),
            *(ask(found, lambda request: connect(request.port, request.server_name)) for _, found in secure),
        )

    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    for request, real in zip(
        [each for found in (*lanes, *(pair[1] for pair in secure)) for each in found],
        [each for found in answers for each in found],
        strict=True,
    ):
        explanation = explain.explain_request(view, request)
        outcomes[explanation.match.outcome.value] += 1
        if real not in expected(explanation):
            wrong.append(f"{request} {request.headers}\n  Envoy: {real}\n  explain: {expected(explanation)}")
    assert not wrong, f"{len(wrong)} of {len(requests)}, seed {seed}:\n" + "\n".join(wrong[:10])
    assert outcomes[Outcome.ROUTED.value], outcomes


def expected(explanation: explain.Explanation) -> set[Answer]:
    """Every answer that fits: one for each share of the traffic. What Envoy answers to a call itself has HTTP
    status 200: gRPC's own stands in `grpc-status`."""
    found = _expected(explanation)
    content = dict(explanation.match.request.headers).get("content-type", "")
    if content != "application/grpc" and not content.startswith("application/grpc+"):
        return found
    return {each._replace(status=200) for each in found}


def _expected(explanation: explain.Explanation) -> set[Answer]:
    data, match = explanation.data, explanation.match
    action = data.get("action", {})
    name = match.winner.name if match.winner is not None else ""
    match match.outcome:
        case Outcome.NO_CHAIN:
            return {CLOSED}
        case Outcome.MISDIRECTED:
            name = "misdirected"
        case Outcome.REFUSED | Outcome.NO_HOST | Outcome.NO_ROUTE | Outcome.ROUTED:
            pass
        case Outcome.NO_LISTENER:
            raise AssertionError(data)
    if action.get("kind") != "forward":
        return {Answer(data["status"], name, "", "", "", action.get("location", ""))}
    if data.get("preflight") and data["status"] == 200:
        return {Answer(200, "", "", "", "", "")}  # the filter's own answer
    if data["status"]:
        return {Answer(data["status"], name, "", "", "", "")}
    return {
        Answer(200, name, share["name"], action["path"], action["host"], "")
        if share["name"]
        else Answer(share["status"], name, "", "", "", "")
        for share in action["clusters"]
        if share["weight"]
    }


# --- the real one -----------------------------------------------------------------------------------------


@asynccontextmanager
async def serving(snapshot: Snapshot, echo: int, binary: Path) -> Any:
    """Envoy on the snapshot, talkative, and with the backend on port `echo`."""
    admin = Admin(port=net.free_port())
    resources = [item for found in snapshot.types() for item in snapshot.resources(found).values()]
    message = static.bootstrap(resources, admin)
    for listener in message.static_resources.listeners:
        for chain in listener.filter_chains:
            make_talkative(chain.filters[0].typed_config)
    add_echo(message, echo)
    async with process.running(proto.serialize(message), binary=binary, admin=admin, concurrency=1) as envoy:
        await envoy.ready()
        yield


def make_talkative(config: Any) -> None:
    """Every answer of a route tells the route and the cluster."""
    manager = hcm.HttpConnectionManager.FromString(config.value)
    for table in static.tables(manager):
        for name, value in (("x-route", "%ROUTE_NAME%"), ("x-cluster", "%UPSTREAM_CLUSTER%")):
            table.response_headers_to_add.add().header.CopyFrom(header(name, value))
    config.value = proto.serialize(manager)


def add_echo(message: bootstrap_proto.Bootstrap, port: int) -> None:
    """A listener that answers with the path and host that it was asked for."""
    listener = message.static_resources.listeners.add(name="echo")
    listener.address.socket_address.address = "127.0.0.1"
    listener.address.socket_address.port_value = port
    manager = hcm.HttpConnectionManager(stat_prefix="echo")
    host = manager.route_config.virtual_hosts.add(name="echo", domains=["*"])
    route = host.routes.add()
    route.match.prefix = "/"
    route.direct_response.status = 200
    for name, value in (("x-path", "%REQ(:PATH)%"), ("x-host", "%REQ(:AUTHORITY)%")):
        route.response_headers_to_add.add().header.CopyFrom(header(name, value))
    source = hcm.HttpConnectionManager.FromString(
        message.static_resources.listeners[0].filter_chains[0].filters[0].typed_config.value
    )
    manager.http_filters.add().CopyFrom(source.http_filters[-1])  # the router
    network = listener.filter_chains.add().filters.add(name="envoy.filters.network.http_connection_manager")
    network.typed_config.CopyFrom(proto.pack_any(manager))


def header(name: str, value: str) -> Any:
    from dragoman.proto.envoy.config.core import v3 as core

    return core.HeaderValue(key=name, value=value)


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(port: int, server_name: str = "") -> Connection:
    if not server_name:
        return await asyncio.open_connection("127.0.0.1", port)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=server_name)


async def ask(requests: Sequence[Request], opened: Callable[[Request], Any]) -> list[Answer]:
    """Asks one after the other, on one connection per port as long as Envoy keeps it."""
    connections: dict[int, Connection] = {}
    try:
        return [await _ask(request, opened, connections) for request in requests]
    finally:
        for _, writer in connections.values():
            writer.close()


async def _ask(
    request: Request, opened: Callable[[Request], Any], connections: dict[int, Connection]
) -> Answer:
    for attempt in ("first", "again"):
        try:
            if request.port not in connections:
                connections[request.port] = await opened(request)
            reader, writer = connections[request.port]
            writer.write(raw(request))
            reply = await read_reply(reader)
        except (OSError, asyncio.IncompleteReadError):
            connections.pop(request.port, None)
            if attempt == "again" or request.scheme == "https":
                return CLOSED
            continue
        if reply.headers.get("connection") == "close":
            connections.pop(request.port)[1].close()
        told: Iterable[str] = (
            reply.headers.get(name, "") for name in ("x-route", "x-cluster", "x-path", "x-host", "location")
        )
        if "x-path" not in reply.headers:
            told = (reply.headers.get("x-route", ""), "", "", "", reply.headers.get("location", ""))
        return Answer(reply.status, *(value if value != "-" else "" for value in told))
    raise AssertionError("not reached")


def raw(request: Request) -> bytes:
    lines = [f"{request.method} {request.path} HTTP/1.1", f"host: {request.authority}"]
    lines += [f"{name}: {value}" for name, value in request.headers]
    if request.method in ("POST", "PUT"):
        lines.append("content-length: 0")
    return "\r\n".join([*lines, "", ""]).encode()
