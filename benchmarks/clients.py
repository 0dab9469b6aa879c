"""Clients that are known by what they bring, as many as there are: what one that goes costs, and how long it
still passes.

One Gateway, one route that answers by itself, N clients, a hundred to a file. One of them goes: time runs
from the rename of its file to the first request with what it brings that Envoy refuses. Without shards, every
change would cost what all clients cost; the ratio of the processor time with the most clients to that with
the fewest says how far that is from so. `keys` and `subjects` say what clients bring.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import processes, worlds
from benchmarks.report import Goal, Table, high, median, ms, ratio
from tests.harness import envoy, manifests, net
from tests.harness.plane import Plane

EACH: Final = 100
"""Clients to a file."""

_HOST: Final = "keys.example"
_GAP: Final = 1.0
"""Seconds after a change in which what it costs is still counted."""
_CHANGES: Final = 8


@dataclass(frozen=True)
class Kind:
    """What clients bring. `bundle(number, count, gone)`: the objects of one file's clients, but for the first
    `gone`; `header(number, at)`: what one of them brings; `refused`: the status for one that went."""

    title: str
    noun: str
    note: str
    refused: bytes
    policy: manifests.Body
    bundle: Callable[[int, int, int], list[manifests.Body]]
    header: Callable[[int, int], str]


def policy(**spec: Any) -> manifests.Body:
    """An AuthPolicy for all of it."""
    return {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "AuthPolicy",
        "metadata": {"name": "all", "namespace": worlds.NAMESPACE},
        "spec": {"targetRefs": [{"kind": "Gateway", "name": "edge"}], **spec},
    }


def _gateway(port: int) -> list[manifests.Body]:
    """One route, which answers by itself."""
    redirect = {"type": "RequestRedirect", "requestRedirect": {"statusCode": 302, "hostname": "b.example"}}
    return [
        manifests.gateway_class(),
        manifests.gateway(manifests.listener("http", port), namespace=worlds.NAMESPACE),
        manifests.http_route(
            "keys", manifests.rule(filters=[redirect]), hostnames=[_HOST], namespace=worlds.NAMESPACE
        ),
    ]


def _ask(port: int, header: str) -> bytes:
    """The status, on a connection of its own."""
    try:
        with socket.create_connection(("127.0.0.1", port), 30) as connection:
            connection.sendall(f"GET / HTTP/1.1\r\nhost: {_HOST}\r\n{header}\r\n\r\n".encode())
            return connection.recv(4096)[9:12]
    except OSError:
        return b""


def _until(port: int, header: str, status: bytes, limit: float) -> float:
    """When the answer has that status first."""
    end = time.perf_counter() + limit
    while _ask(port, header) != status:
        if time.perf_counter() > end:
            raise TimeoutError(f"no {status!r} within {limit:g} s")
        time.sleep(0.0005)
    return time.perf_counter()


async def _measure(folder: Path, kind: Kind, count: int) -> dict[str, list[float]]:
    port = net.free_port()
    files = max(1, count // EACH)
    async with AsyncExitStack() as stack:
        plane = Plane(folder / "plane", log_level="warning")
        plane.write("gateway.yaml", *_gateway(port), kind.policy)
        for number in range(files):
            plane.write(f"c{number}.yaml", *kind.bundle(number, count, 0))
        await plane.start(limit=600)
        stack.push_async_callback(plane.stop)
        begin = processes.exact_cpu(plane.pid)
        place = folder / "envoy"
        place.mkdir()
        bootstrap = envoy.bare(net.free_port(), envoy.ads(), [envoy.grpc_cluster(plane.xds_port)])
        # As `dragoman run --envoy` does it: at `warning` Envoy writes two lines for each key, at each change.
        proxy = envoy.Envoy(bootstrap, place, log_level="error")
        stack.push_async_callback(proxy.stop)
        await proxy.start()
        await asyncio.to_thread(_until, port, kind.header(files - 1, 0), b"302", 120)
        found: dict[str, list[float]] = {
            "begin": [begin],
            "memory": [processes.rss(proxy.pid) / 2**20],
            "own": [processes.rss(plane.pid) / 2**20],
            "time": [],
            "envoy": [],
            "plane": [],
        }
        for step in range(_CHANGES):
            number, gone = step * 7919 % files, step // files + 1
            draft = folder / "draft.yaml"
            draft.write_text(worlds.text(kind.bundle(number, count, gone)))
            await asyncio.sleep(_GAP)
            before = processes.exact_cpu(proxy.pid), processes.exact_cpu(plane.pid)
            begun = time.perf_counter()
            draft.rename(plane.folder / f"c{number}.yaml")
            refused = await asyncio.to_thread(_until, port, kind.header(number, gone - 1), kind.refused, 60)
            found["time"].append(refused - begun)
            await asyncio.sleep(_GAP)
            found["envoy"].append(processes.exact_cpu(proxy.pid) - before[0])
            found["plane"].append(processes.exact_cpu(plane.pid) - before[1])
            if _ask(port, kind.header(number, EACH - 1)) != b"302" and count >= EACH:
                raise RuntimeError("another client does not pass any more")
        return found


async def measure(folder: Path, kind: Kind, sizes: Iterable[int]) -> list[Table]:
    """One row per number of clients."""
    table = Table(
        kind.title,
        (
            kind.noun,
            "refused after, median ms",
            "90 % ms",
            "Envoy's CPU ms",
            "control plane's CPU ms",
            "Envoy MiB",
            "control plane MiB",
            "its start, CPU s",
        ),
        notes=[f"from the rename of {kind.note}; CPU of the second after it included"],
    )
    first: dict[str, list[float]] = {}
    for count in sizes:
        place = folder / f"{kind.noun}-{count}"
        place.mkdir()
        found = await _measure(place, kind, count)
        first = first or found
        table.rows.append(
            (
                f"{count:,}",
                ms(median(found["time"])),
                ms(high(found["time"])),
                f"{ms(median(found['envoy']))} ({ratio(median(found['envoy']), median(first['envoy']))})",
                f"{ms(median(found['plane']))} ({ratio(median(found['plane']), median(first['plane']))})",
                f"{found['memory'][0]:.0f}",
                f"{found['own'][0]:.0f}",
                f"{found['begin'][0]:.1f}",
            )
        )
        table.goals.append(Goal(f"{count:,} {kind.noun}: refused within", high(found["time"]), 1.0, "s"))
    return [table]
