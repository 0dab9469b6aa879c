"""TLS hosts: one more among many, from the rename of its file to the first answer through its own handshake.

Each host is a ListenerSet with an HTTPS listener, a certificate and a route, all on one port. Connections to
hosts that were there before stay open and are asked after each addition: those that Envoy closed, or asked to
go, count as drained. `dragoman run` on a folder and one Envoy with one worker, as users run them.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from benchmarks import processes, worlds
from benchmarks.children import Child
from benchmarks.report import Goal, Table, high, median, ms
from tests.harness import certs, envoy, manifests, net
from tests.harness.manifests import Body
from tests.harness.plane import Plane

_ADDED: Final = 10
_OPEN: Final = 20
_PAUSE: Final = 0.002
_DRAIN: Final = 1
_LIMIT: Final = 120.0
_GOAL_MS: Final = 20.0


class _Hosts:
    """Documents of hosts. One key pair for all: making thousands would take longer than what is measured."""

    def __init__(self, port: int) -> None:
        authority = certs.Authority("benchmark")
        self._pair = authority.issue("*.example.com")
        self._port = port
        self.context = authority.client_context()

    def bodies(self, number: int) -> list[Body]:
        own = manifests.listener(
            "own", self._port, protocol="HTTPS", hostname=worlds.host(number), secret=f"c{number}"
        )
        route = manifests.http_route(f"r{number}", manifests.rule("s"), hostnames=[worlds.host(number)])
        route["spec"]["parentRefs"] = [{"kind": "ListenerSet", "name": f"set-{number}"}]
        secret = manifests.tls_secret(f"c{number}", self._pair.certificate, self._pair.key)
        return [secret, manifests.listener_set(f"set-{number}", own), route]


class _Connection:
    """A connection to one host that is kept open."""

    def __init__(self, port: int, host: str, context: ssl.SSLContext) -> None:
        raw = socket.create_connection(("127.0.0.1", port), 30)
        try:
            self._socket = context.wrap_socket(raw, server_hostname=host)
        except BaseException:
            raw.close()
            raise
        self._host = host

    def ask(self) -> bytes:
        """The head of the answer; `OSError` where Envoy has closed."""
        self._socket.sendall(f"GET / HTTP/1.1\r\nhost: {self._host}\r\n\r\n".encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        while len(body) < length:
            body += self._more()
        return head

    def stays(self) -> bool:
        """Whether it still answers and was not asked to go."""
        try:
            return b"connection: close" not in self.ask().lower()
        except OSError:
            return False

    def close(self) -> None:
        self._socket.close()

    def _more(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionResetError("closed by Envoy")
        return data


def _served(port: int, host: str, context: ssl.SSLContext) -> float:
    """When a new connection to the host first got a 200."""
    end = time.perf_counter() + _LIMIT
    while time.perf_counter() < end:
        try:
            connection = _Connection(port, host, context)
            try:
                if connection.ask().startswith(b"HTTP/1.1 200"):
                    return time.perf_counter()
            finally:
                connection.close()
        except OSError:
            pass  # no such server name yet
        time.sleep(_PAUSE)
    raise TimeoutError(f"{host} was not served within {_LIMIT:g} s")


def _add(plane: Plane, port: int, made: _Hosts, number: int) -> float:
    """Seconds."""
    target = worlds.path(plane.folder, number)
    worlds.replace(target, made.bodies(number))
    begun = time.perf_counter()
    (target.parent.parent / f"{target.name}.draft").rename(target)
    return _served(port, worlds.host(number), made.context) - begun


async def _measure_one(folder: Path, count: int, table: Table) -> tuple[list[float], int]:
    async with AsyncExitStack() as stack:
        answering = stack.enter_context(Child("benchmarks.answering"))
        backend = int(answering.hear().split()[0])
        plane = Plane(folder, log_level="warning")
        port = net.free_port()
        made = _Hosts(port)
        gateway = manifests.gateway(manifests.listener("http", net.free_port()))
        gateway["spec"]["allowedListeners"] = {"namespaces": {"from": "Same"}}
        shared = [manifests.gateway_class(), gateway]
        shared += [manifests.service("s"), manifests.endpoint_slice("s", backend)]
        (plane.folder / "shared.yaml").write_text(worlds.text(shared))
        for number in range(count):
            worlds.path(plane.folder, number).write_text(worlds.text(made.bodies(number)))
        await plane.start()
        stack.push_async_callback(plane.stop)
        clusters = [envoy.grpc_cluster(plane.xds_port)]
        process = envoy.Envoy(envoy.bare(net.free_port(), envoy.ads(), clusters), folder, drain=_DRAIN)
        stack.push_async_callback(process.stop)
        await process.start()
        await asyncio.to_thread(_served, port, worlds.host(count - 1), made.context)

        def run() -> tuple[list[float], list[float], int]:
            opened = [
                _Connection(port, worlds.host(number), made.context) for number in range(min(_OPEN, count))
            ]
            before = processes.exact_cpu(plane.pid), processes.main_cpu(process.pid)
            times = []
            left: set[int] = set()
            for step in range(_ADDED):
                times.append(_add(plane, port, made, count + step))
                left.update(at for at, each in enumerate(opened) if at not in left and not each.stays())
            after = processes.exact_cpu(plane.pid), processes.main_cpu(process.pid)
            time.sleep(2 * _DRAIN)  # what drains is closed by then
            left.update(at for at, each in enumerate(opened) if at not in left and not each.stays())
            for each in opened:
                each.close()
            return times, [(b - a) / _ADDED for a, b in zip(before, after, strict=True)], len(left)

        times, used, drained = await asyncio.to_thread(run)
        table.rows.append(
            (
                f"{count:,}",
                ms(median(times)),
                ms(high(times)),
                *map(ms, used),
                f"{drained} of {min(_OPEN, count)}",
            )
        )
        return times, drained


async def measure(folder: Path, sizes: Iterable[int]) -> list[Table]:
    """One table, a row for each size."""
    table = Table(
        "One TLS host added among N, to the first 200 through its own handshake",
        ("TLS hosts", "median ms", "90 % ms", "Dragoman CPU ms", "Envoy CPU ms", "others drained"),
        notes=[
            f"{_ADDED} added one by one, each a ListenerSet with a certificate and a route; all on one port",
            "CPU for each: of the control plane, and of Envoy's main thread; handshakes are its worker's",
            "drained: connections to other hosts that were closed or told to go",
        ],
    )
    for count in sizes:
        place = folder / f"tls-{count}"
        place.mkdir()
        times, drained = await _measure_one(place, count, table)
        table.goals.append(Goal(f"drained at {count:,}", drained, 0, ""))
        if count == 1_000:
            table.goals.append(Goal("added among 1,000", median(times) * 1000, _GOAL_MS, "ms"))
    return [table]
