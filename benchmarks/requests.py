"""What a request costs Envoy in the shapes that `envoy/shape.py` and `envoy/trees.py` choose, beside a
single route, Dragoman's and one written by hand.

The same settings and backend each time; one worker; requests by wrk on 16 connections,
in turns, and Envoy's own CPU time for each. What a shape adds is the whole difference; throughput per core
is its inverse. Needs `wrk`; without it the section is left out.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import byhand, processes, worlds
from benchmarks.prepared import document
from benchmarks.report import Goal, Table, median, ratio
from dragoman import config, proto
from dragoman.envoy import process, static, trees
from dragoman.envoy.admin import Admin
from dragoman.graph.pipeline import Pipeline
from tests.harness import envoy, manifests, net
from tests.harness.manifests import Body

_HOST: Final = "shop.example.com"
_MATCHES: Final = 8
_RULES: Final = 16
_ROUNDS: Final = 12
_LEAST: Final = 0.90
_BY_HAND: Final = "one route, by hand"


@dataclass(slots=True)
class Shape:
    """One Envoy. `bodies`: its world (none: it is configured by hand); `ask`: the host and the path that
    requests are for; `headers`: what else they say.
    """

    name: str
    bodies: list[Body]
    ask: tuple[str, str]
    headers: tuple[str, ...] = ()
    scoped: int = 200
    treed: bool = True
    port: int = 0
    pid: int = 0


def shapes(hosts: int, prefixes: int, listen: Iterator[int], backend: int) -> list[Shape]:
    def world(*routes: Body) -> tuple[list[Body], int]:
        port = next(listen)
        return [*worlds.gateway(port), worlds.service(0), worlds.endpoints(0, backend), *routes], port

    made = []
    many = [_plain(number) for number in range(hosts)]
    deep = list(_prefixes(prefixes))
    last = (_HOST, f"/p{prefixes - 1}/x")
    for name, routes, ask, more in (
        ("one route", [_plain(0)], (worlds.host(0), "/"), {}),
        (f"{hosts:,} hosts, one table", many, (worlds.host(hosts - 1), "/"), {"scoped": 0}),
        (f"{hosts:,} hosts, scopes", many, (worlds.host(hosts - 1), "/"), {}),
        (f"{prefixes:,} prefixes, a list", deep, last, {"treed": False}),
        (f"{prefixes:,} prefixes, a tree", deep, last, {}),
    ):
        bodies, port = world(*routes)
        made.append(Shape(name, bodies, ask, port=port, **more))
    return made


def _plain(number: int) -> Body:
    """A route that does nothing but forward, as the one by hand."""
    return manifests.http_route(f"r{number}", manifests.rule("s0"), hostnames=[worlds.host(number)])


def _prefixes(count: int) -> Iterator[Body]:
    """HTTPRoutes of one host, as many as it takes."""
    each = _RULES * _MATCHES
    for start in range(0, count, each):
        rules = []
        for first in range(start, min(start + each, count), _MATCHES):
            made = manifests.rule("s0")
            made["matches"] = [
                {"path": {"type": "PathPrefix", "value": f"/p{number}"}}
                for number in range(first, min(first + _MATCHES, count))
            ]
            rules.append(made)
        yield manifests.http_route(f"deep{start}", *rules, hostnames=[_HOST])


def _bootstrap(shape: Shape, admin: Admin) -> bytes:
    least = trees.LEAST
    trees.LEAST = least if shape.treed else 10**9  # type: ignore[misc]
    try:
        pipeline = Pipeline(config.Settings(gateways=config.Gateways(scoped_hosts=shape.scoped)))
        pipeline.load([document(body) for body in shape.bodies])
        return proto.serialize(static.bootstrap(pipeline.snapshot(), admin))
    finally:
        trees.LEAST = least  # type: ignore[misc]


def answering(port: int, admin: int) -> dict[str, Any]:
    """An Envoy that answers everything itself: the backend."""
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "ok"}}}
    typed = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{typed}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "backend",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{typed}.http.router.v3.Router"}},
        ],
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    made = envoy.bare(admin, {}, [])
    made["static_resources"] = {"listeners": [{"name": "l", "address": address, "filter_chains": [chain]}]}
    return made


def load(shape: Shape, seconds: int) -> tuple[float, float]:
    """CPU microseconds of Envoy for each request, and requests a second."""
    host, path = shape.ask
    command = ["wrk", "-c16", "-t1", f"-d{seconds}s", "-H", f"Host: {host}"]
    for header in shape.headers:
        command += ["-H", header]
    before, begun = processes.exact_cpu(shape.pid), time.perf_counter()
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{shape.port}{path}"], check=True, capture_output=True, text=True
    )
    if "Non-2xx" in done.stdout:
        raise RuntimeError(f"{shape.name}: {done.stdout}")
    (line,) = (each for each in done.stdout.splitlines() if "requests in" in each)
    count = int(line.split()[0])
    used = processes.exact_cpu(shape.pid) - before
    return used / count * 1e6, count / (time.perf_counter() - begun)


async def measure(folder: Path, hosts: int, prefixes: int, seconds: int = 1) -> list[Table]:
    table = Table(
        "What a request costs in each shape",
        ("shape", "CPU us, least", "CPU us, median", "requests/s, median", "throughput to by hand"),
        notes=[
            f"{_ROUNDS} rounds of {seconds} s in turns; one worker, 16 connections, a backend beside it",
            "throughput: per CPU second, by the rounds that used least; the machine is shared",
        ],
    )
    if shutil.which("wrk") is None:
        table.notes = ["left out: there is no `wrk`"]
        return [table]
    async with AsyncExitStack() as stack:
        backend = net.free_port()
        (folder / "backend").mkdir()
        replying = envoy.Envoy(answering(backend, net.free_port()), folder / "backend")
        stack.push_async_callback(replying.stop)
        await replying.start()
        found = [Shape(_BY_HAND, [], (worlds.host(0), "/"), port=net.free_port())]
        found += shapes(hosts, prefixes, iter(net.free_port, None), backend)
        for shape in found:
            admin = Admin(port=net.free_port())
            if shape.bodies:
                given = _bootstrap(shape, admin)
            else:
                given = byhand.bootstrap(shape.ask[0], shape.port, backend, admin)
            started = await stack.enter_async_context(process.running(given, admin=admin, concurrency=1))
            await started.ready()
            shape.pid = started.pid
        results: dict[str, list[tuple[float, float]]] = {shape.name: [] for shape in found}
        for _ in range(_ROUNDS):
            for shape in found:
                results[shape.name].append(await asyncio.to_thread(load, shape, seconds))
    base = min(each for each, _ in results[_BY_HAND])
    for name, rounds in results.items():
        costs = [each for each, _ in rounds]
        rate = median([each for _, each in rounds])
        cells = (f"{min(costs):.1f}", f"{median(costs):.1f}", f"{rate:,.0f}", ratio(base, min(costs)))
        table.rows.append((name, *cells))
        if name.endswith(("scopes", "tree")):
            table.goals.append(Goal(f"cost of {name}", min(costs) / base, 1 / _LEAST, "x"))
    return [table]
