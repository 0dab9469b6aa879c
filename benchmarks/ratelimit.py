"""What the rate-limit service costs: a decision by memory and by Redis, and a request through Envoy.

The service is `dragoman ratelimit` as users run it; its load is that of `ratelimit-transport`, one request
again and again. Through Envoy, `wrk` asks as a thousand users in turn, and nginx answers behind one Envoy
that has a listener for each way to limit, and one without. Rounds take turns; limits are so large that
everything passes. `redis-server`, and for the second table `wrk` and `nginx`: what is not there is left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks import processes, transport
from benchmarks.children import Child
from benchmarks.report import Goal, Table, median
from tests.harness import envoy, limits, net, quotas

Json = dict[str, Any]

_ROUNDS: Final = 5
_STREAMS: Final = (64, 16)
_CALLS: Final = {"http2": 8_000, "grpc": 600}
_SECONDS: Final = 1
_CONNECTIONS: Final = 64
_USERS: Final = Path(__file__).with_name("users.lua")

LIMITS: Final = """
domain: {domain}
descriptors:
- key: {key}
  rate_limit: {{unit: second, requests_per_unit: 1000000000}}
"""
QUOTAS: Final = """
domain: quota
descriptors:
- key: name
  value: per-user
  descriptors:
  - key: user
    rate_limit: {unit: second, requests_per_unit: 1000000000}
"""


class Kind(NamedTuple):
    """One service."""

    store: str
    carrier: str

    def __str__(self) -> str:
        return f"{self.store}, {'grpc.aio' if self.carrier == 'grpc' else 'thin'}"


class Service:
    """A running service."""

    def __init__(self, kind: Kind, folder: Path, redis: int | None) -> None:
        self.port, self.streams = net.free_port(), net.free_port()
        command = [sys.executable, "-m", "dragoman", "ratelimit", str(folder), "--admin", "off"]
        command += ["--transport", kind.carrier, "--listen", f"127.0.0.1:{self.port}"]
        command += ["--streams", f"127.0.0.1:{self.streams}", "--store-timeout", "5", "--log-level", "error"]
        if kind.store == "Redis":
            command += ["--store", f"redis://127.0.0.1:{redis}"]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)


def measure(folder: Path) -> list[Table]:
    """Both tables, or the first alone where there is no wrk or nginx."""
    files = folder / "limits"
    files.mkdir()
    (files / "direct.yaml").write_text(LIMITS.format(domain="d", key="remote_address"))
    (files / "envoy.yaml").write_text(LIMITS.format(domain="bench", key="user"))
    (files / "quotas.yaml").write_text(QUOTAS)
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder)) if shutil.which("redis-server") else None
        stores = ["memory"] if redis is None else ["memory", "Redis"]
        kinds = [Kind(store, carrier) for store in stores for carrier in _CALLS]
        services: dict[Kind, Service] = {}
        for kind in kinds:
            services[kind] = Service(kind, files, redis.port if redis is not None else None)
            stack.callback(end, services[kind].process)
        for service in services.values():
            wait(service.port)
        tables = [_direct(services, redis, stack)]
        if shutil.which("wrk") and shutil.which("nginx"):
            tables.append(asyncio.run(_through_envoy(folder, services)))
        return tables


# The service alone.


def _direct(services: dict[Kind, Service], redis: Redis | None, stack: contextlib.ExitStack) -> Table:
    cases = [(kind, streams) for streams in _STREAMS for kind in services]
    cpu: dict[tuple[Kind, int], list[float]] = {case: [] for case in cases}
    rate: dict[tuple[Kind, int], list[float]] = {case: [] for case in cases}
    there: dict[tuple[Kind, int], list[float]] = {case: [] for case in cases}
    load = stack.enter_context(Child("benchmarks.transport", "load"))
    for service in services.values():
        transport.run(load, service.port, 500, 16)
    for _ in range(_ROUNDS):
        for case in cases:
            kind, streams = case
            calls = _CALLS[kind.carrier]
            pids = [services[kind].process.pid, *([redis.pid] if redis is not None else [])]
            before = [processes.cpu(pid) for pid in pids]
            seconds = transport.run(load, services[kind].port, calls, streams)
            spent = [processes.cpu(pid) - begun for pid, begun in zip(pids, before, strict=True)]
            cpu[case].append(spent[0] / calls)
            there[case].append(spent[-1] / calls if kind.store == "Redis" else 0.0)
            rate[case].append(calls / seconds)
    table = Table(
        "Rate-limit service: one decision",
        (
            "service",
            "in flight",
            "service CPU us",
            "Redis CPU us",
            "calls/s",
            "CPU to grpc.aio",
            "calls/s to grpc.aio",
        ),
        notes=[
            f"medians of {_ROUNDS} rounds that take turns; client, service and Redis share the machine",
            "`dragoman ratelimit`, fixed window, the same request again and again",
        ],
    )
    for case in cases:
        kind, streams = case
        floor = Kind(kind.store, "grpc"), streams
        mine, theirs = median(cpu[case]), median(cpu[floor])
        fast, slow = median(rate[case]), median(rate[floor])
        table.rows.append(
            (
                str(kind),
                str(streams),
                f"{mine * 1e6:.1f}",
                f"{median(there[case]) * 1e6:.1f}" if kind.store == "Redis" else "-",
                f"{fast:,.0f}",
                f"1/{theirs / mine:.1f}",
                f"{fast / slow:.1f}x",
            )
        )
        if kind.carrier == "grpc":
            continue
        goal = f"{kind.store}, {streams} in flight"
        table.goals.append(Goal(f"thin to grpc.aio, CPU, {goal}", mine / theirs, 1 / 8, "x"))
        if streams == _STREAMS[0]:  # with fewer it is the waiting that counts, not the process
            most = 1 / 10 if kind.store == "memory" else 1 / 8
            table.goals.append(Goal(f"grpc.aio to thin, calls/s, {goal}", slow / fast, most, "x"))
    return table


# Through Envoy.


async def _through_envoy(folder: Path, services: dict[Kind, Service]) -> Table:
    ways: dict[str, Kind | None] = {"no limit": None}
    ways |= {str(kind): kind for kind in services if kind != Kind("Redis", "grpc")}
    quota = "quotas (RLQS)"
    ports = {name: net.free_port() for name in (*ways, quota)}
    memory = services[Kind("memory", "http2")]
    with nginx(folder) as upstream:
        listeners = [_listener(ports[name], name, kind) for name, kind in ways.items()]
        listeners.append(_listener(ports[quota], quota, None))
        clusters = [limits.cluster("upstream", [upstream])]
        clusters.append(limits.cluster("rlqs", [memory.streams], typed_extension_protocol_options=limits.H2))
        for kind, service in services.items():
            clusters.append(
                limits.cluster(str(kind), [service.port], typed_extension_protocol_options=limits.H2)
            )
        bootstrap = {
            "node": {"id": "bench", "cluster": "bench"},
            "admin": {"address": limits.tcp(net.free_port())},
            "static_resources": {"listeners": listeners, "clusters": clusters},
        }
        rates: dict[str, list[float]] = {name: [] for name in ports}
        cost: dict[str, list[float]] = {name: [] for name in ports}
        waits: dict[str, list[float]] = {name: [] for name in ports}
        shares: dict[str, list[float]] = {name: [] for name in ports}
        wrong: dict[str, int] = dict.fromkeys(ports, 0)
        async with envoy.Envoy(bootstrap, folder) as running:
            for port in ports.values():
                await wrk(port, 1)  # warm, and quotas assigned
            for _ in range(_ROUNDS):
                done: list[tuple[str, float]] = []
                for name in order(list(ports)):
                    before = processes.cpu(running.pid)
                    run = await wrk(ports[name], _SECONDS)
                    rates[name].append(run.rate)
                    cost[name].append((processes.cpu(running.pid) - before) / max(run.requests, 1))
                    waits[name].append(run.wait)
                    wrong[name] += run.wrong
                    done.append((name, run.rate))
                for name, share in shares_of(done):
                    shares[name].append(share)
    table = Table(
        "Rate limits through Envoy, nginx behind it",
        ("limit", "requests/s", "to no limit", "p50 ms", "Envoy CPU us", "not passed"),
        notes=[
            f"wrk, {_CONNECTIONS} connections, a thousand users in turn",
            f"medians of {_ROUNDS} rounds of {_SECONDS} s",
            "wrk, Envoy (one worker), nginx, the service and Redis share the machine",
            "to no limit: each run by the mean of the two without a limit just before and after it",
        ],
    )
    for name in ports:
        figures = (
            f"{median(rates[name]):,.0f}",
            f"{median(shares[name]):.2f}" if shares[name] else "1",
            f"{median(waits[name]):.1f}",
        )
        table.rows.append((name, *figures, f"{median(cost[name]) * 1e6:.0f}", str(wrong[name])))
    # Goals are upper limits: how many requests without a limit there are for one with it.
    thin = median(shares[str(Kind("memory", "http2"))])
    table.goals.append(Goal("no limit to thin in memory", 1 / thin, 1 / 0.45, "x"))
    if (kind := Kind("Redis", "http2")) in services:
        table.goals.append(Goal("no limit to thin with Redis", 1 / median(shares[str(kind)]), 1 / 0.45, "x"))
    table.goals.append(Goal("no limit to quotas", 1 / median(shares[quota]), 1 / 0.75, "x"))
    return table


def order(names: list[str]) -> list[str]:
    """The first, which has no limit, before and after each other one: what else the machine does varies."""
    return [names[0], *(each for name in names[1:] for each in (name, names[0]))]


def shares_of(done: list[tuple[str, float]]) -> Iterator[tuple[str, float]]:
    """Each rate by the mean of the two without a limit beside it."""
    for position in range(1, len(done), 2):
        beside = (done[position - 1][1] + done[position + 1][1]) / 2
        yield done[position][0], done[position][1] / beside


class Run(NamedTuple):
    requests: int
    rate: float
    wait: float
    wrong: int


async def wrk(port: int, seconds: int, script: Path = _USERS, path: str = "/") -> Run:
    """`script` says what is asked, for `path` where it does not say that."""
    command = ["wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(script)]
    process = await asyncio.create_subprocess_exec(
        *command, f"http://127.0.0.1:{port}{path}", stdout=asyncio.subprocess.PIPE
    )
    said = (await process.communicate())[0].decode()
    found = re.search(r"(\d+) requests in", said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    wait = re.search(r"50%\s+([\d.]+)(us|ms|s)", said)
    if found is None or rate is None or wait is None:
        raise RuntimeError(f"wrk said: {said}")
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    unit = {"us": 0.001, "ms": 1.0, "s": 1000.0}[wait[2]]
    return Run(int(found[1]), float(rate[1]), float(wait[1]) * unit, int(wrong[1]) if wrong else 0)


def _listener(port: int, name: str, kind: Kind | None) -> Json:
    """A way to limit. A failure to ask is a 500, so that it counts as not passed."""
    filters: list[Json] = []
    if kind is not None:
        limiter = limits.typed(
            "envoy.extensions.filters.http.ratelimit.v3.RateLimit",
            domain="bench",
            timeout="5s",
            failure_mode_deny=True,
            rate_limit_service={
                "transport_api_version": "V3",
                "grpc_service": {"envoy_grpc": {"cluster_name": str(kind)}},
            },
        )
        filters.append({"name": "ratelimit", "typed_config": limiter})
    elif name != "no limit":
        filters.append(quotas.http_filter(domain="quota"))
    filters.append(
        {"name": "router", "typed_config": limits.typed("envoy.extensions.filters.http.router.v3.Router")}
    )
    action = {"request_headers": {"header_name": "x-user", "descriptor_key": "user"}}
    route = {
        "match": {"prefix": "/"},
        "route": {"cluster": "upstream", "rate_limits": [{"actions": [action]}]},
    }
    manager = limits.typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="bench",
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        http_filters=filters,
    )
    return {
        "name": name,
        "address": limits.tcp(port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


# What else runs.


class Redis(NamedTuple):
    pid: int
    port: int


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[Redis]:
    port = net.free_port()
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    process = subprocess.Popen([*command, "--dir", str(folder)], stdout=subprocess.DEVNULL)
    try:
        wait(port)
        yield Redis(process.pid, port)
    finally:
        end(process)


@contextlib.contextmanager
def nginx(folder: Path) -> Iterator[int]:
    port = net.free_port()
    there = folder / "nginx"
    there.mkdir()
    (there / "nginx.conf").write_text(
        f"""
daemon off; worker_processes 1; pid {there}/pid; error_log {there}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 100000000;
  client_body_temp_path {there}/a; proxy_temp_path {there}/b; fastcgi_temp_path {there}/c;
  uwsgi_temp_path {there}/d; scgi_temp_path {there}/e;
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 "ok"; }} }}
}}
"""
    )
    process = subprocess.Popen(["nginx", "-p", str(there), "-c", "nginx.conf", "-e", f"{there}/error.log"])
    try:
        wait(port)
        yield port
    finally:
        end(process)


def wait(port: int, limit: float = 30.0) -> None:
    end = time.monotonic() + limit
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
