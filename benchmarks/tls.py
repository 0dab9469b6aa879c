"""TLS hosts: one more among many, from the rename of its file to the first answer through its own handshake.

Each host is a ListenerSet with an HTTPS listener, a certificate and a route, all on one port. Connections to
hosts that were there before stay open and are asked after each addition: those that Envoy closed, or asked to
go, count as drained. `dragoman run` on a folder and one Envoy with one worker, as users run them. Likewise a
certificate that is renewed, and a route that changes. Each with the filter chains in the listener, and with
chains that Envoy fetches one by one (`gateways.discovered_chains`).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
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
        self._pairs = [authority.issue("*.example.com") for _ in range(2)]
        self._port = port
        self.context = authority.client_context()
        self.certificate = ssl.PEM_cert_to_DER_cert(self._pairs[True].certificate)
        """The renewed one, as connections show it."""

    def bodies(self, number: int, *, renewed: bool = False, prefix: str = "/") -> list[Body]:
        pair = self._pairs[renewed]
        own = manifests.listener(
            "own", self._port, protocol="HTTPS", hostname=worlds.host(number), secret=f"c{number}"
        )
        rule = manifests.rule("s", path=prefix)
        route = manifests.http_route(f"r{number}", rule, hostnames=[worlds.host(number)])
        route["spec"]["parentRefs"] = [{"kind": "ListenerSet", "name": f"set-{number}"}]
        secret = manifests.tls_secret(f"c{number}", pair.certificate, pair.key)
        return [secret, manifests.listener_set(f"set-{number}", own), route]


@dataclass(frozen=True, slots=True)
class _Found:
    """Seconds of each change, seconds of CPU for one (control plane, Envoy), and who was drained so far."""

    times: list[float]
    used: list[float]
    drained: int


class _Connection:
    """A connection to one host that is kept open."""

    def __init__(self, port: int, host: str, context: ssl.SSLContext) -> None:
        raw = socket.create_connection(("127.0.0.1", port), 30)
        # Or the request waits 40 ms for the handshake's last acknowledgement.
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._socket = context.wrap_socket(raw, server_hostname=host)
        except BaseException:
            raw.close()
            raise
        self._host = host

    @property
    def certificate(self) -> bytes | None:
        return self._socket.getpeercert(binary_form=True)

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


def _until(port: int, host: str, context: ssl.SSLContext, happened: Callable[[_Connection], bool]) -> float:
    """When a new connection to the host first showed it."""
    end = time.perf_counter() + _LIMIT
    while time.perf_counter() < end:
        try:
            connection = _Connection(port, host, context)
            try:
                if happened(connection):
                    return time.perf_counter()
            finally:
                connection.close()
        except OSError:
            pass  # no such server name yet
        time.sleep(_PAUSE)
    raise TimeoutError(f"{host} was not served within {_LIMIT:g} s")


def _is_served(connection: _Connection) -> bool:
    return connection.ask().startswith(b"HTTP/1.1 200")


def _moved(connection: _Connection) -> bool:
    """Its route has another path."""
    return connection.ask().startswith(b"HTTP/1.1 404")


class _Bench:
    """One world that runs: its processes, and connections to hosts that no change concerns."""

    def __init__(self, plane: Plane, process: envoy.Envoy, port: int, made: _Hosts, count: int) -> None:
        self._plane, self._process, self._port, self._made, self._count = plane, process, port, made, count
        self._opened = [
            _Connection(port, worlds.host(number), made.context) for number in range(min(_OPEN, count // 2))
        ]
        self._left: set[int] = set()

    @property
    def opened(self) -> int:
        return len(self._opened)

    def added(self) -> _Found:
        return self._measure(
            lambda step: (self._count + step, self._made.bodies(self._count + step)), _is_served
        )

    def renewed(self) -> _Found:
        """The certificate of a host that is there."""
        fresh = self._made.certificate
        return self._measure(
            lambda step: (self._count - 1 - step, self._made.bodies(self._count - 1 - step, renewed=True)),
            lambda connection: connection.certificate == fresh,
        )

    def rerouted(self) -> _Found:
        return self._measure(
            lambda step: (
                self._count - 1 - step,
                self._made.bodies(self._count - 1 - step, renewed=True, prefix="/x"),
            ),
            _moved,
        )

    def close(self) -> None:
        for each in self._opened:
            each.close()

    def _measure(
        self, change: Callable[[int], tuple[int, list[Body]]], happened: Callable[[_Connection], bool]
    ) -> _Found:
        before = processes.exact_cpu(self._plane.pid), processes.main_cpu(self._process.pid)
        times = []
        for step in range(_ADDED):
            number, bodies = change(step)
            target = worlds.path(self._plane.folder, number)
            worlds.replace(target, bodies)
            begun = time.perf_counter()
            (target.parent.parent / f"{target.name}.draft").rename(target)
            times.append(_until(self._port, worlds.host(number), self._made.context, happened) - begun)
            self._look()
        after = processes.exact_cpu(self._plane.pid), processes.main_cpu(self._process.pid)
        time.sleep(2 * _DRAIN)  # what drains is closed by then
        self._look()
        return _Found(times, [(b - a) / _ADDED for a, b in zip(before, after, strict=True)], len(self._left))

    def _look(self) -> None:
        for at, each in enumerate(self._opened):
            if at not in self._left and not each.stays():
                self._left.add(at)


async def _measure_one(folder: Path, count: int, fetched: bool, table: Table) -> list[_Found]:
    async with AsyncExitStack() as stack:
        answering = stack.enter_context(Child("benchmarks.answering"))
        backend = int(answering.hear().split()[0])
        setting = {"DRAGOMAN_GATEWAYS_DISCOVERED_CHAINS": str(fetched).lower()}
        plane = Plane(folder, log_level="warning", environment=setting)
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
        await asyncio.to_thread(_until, port, worlds.host(count - 1), made.context, _is_served)
        await asyncio.sleep(1)
        memory = processes.rss(process.pid)
        bench = await asyncio.to_thread(_Bench, plane, process, port, made, count)
        stack.callback(bench.close)
        out = []
        for label, run in (
            ("one added", bench.added),
            ("a certificate renewed", bench.renewed),
            ("a route changed", bench.rerouted),
        ):
            found = await asyncio.to_thread(run)
            out.append(found)
            table.rows.append(
                (
                    f"{count:,}",
                    "fetched" if fetched else "in the listener",
                    label,
                    ms(median(found.times)),
                    ms(high(found.times)),
                    *map(ms, found.used),
                    f"{found.drained} of {bench.opened}",
                    f"{memory / 2**20:,.0f} MB",
                )
            )
        return out


async def measure(folder: Path, sizes: Iterable[int]) -> list[Table]:
    """One table: for each size and each place of the chains a row for each kind of change."""
    table = Table(
        "TLS hosts: one of N comes or changes, until its own handshake shows it",
        (
            *("TLS hosts", "filter chains", "change", "median ms", "90 % ms"),
            *("Dragoman CPU ms", "Envoy CPU ms", "others drained", "Envoy memory"),
        ),
        notes=[
            f"{_ADDED} one by one, each a ListenerSet with a certificate and a route; all on one port",
            "CPU for each: of the control plane, and of Envoy's main thread; handshakes are its worker's",
            "drained: connections to other hosts that were closed or told to go, so far",
        ],
    )
    for count in sizes:
        for fetched in (False, True):
            place = folder / f"tls-{count}-{fetched}"
            place.mkdir()
            found = await _measure_one(place, count, fetched, table)
            label = f"{count:,}{', fetched' if fetched else ''}"
            table.goals.append(Goal(f"drained at {label}", found[-1].drained, 0, ""))
            if count == 1_000:
                table.goals.append(
                    Goal(f"added among {label}", median(found[0].times) * 1000, _GOAL_MS, "ms")
                )
    return [table]
