"""API keys, as many as there are: what one that is revoked costs, and how long it still opens.

One Gateway, one route that answers by itself, Consumers with a hundred keys each. A key is taken out of its
Secret's file; time runs from the rename of the file to the first request with the key that Envoy refuses.
`spread`: without shards, every change would cost what all keys cost; the ratio of the processor time with the
most keys to that with the fewest says how far that is from so.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from benchmarks import processes, worlds
from benchmarks.report import Goal, Table, high, median, ms, ratio
from tests.harness import envoy, manifests, net
from tests.harness.plane import Plane

_HOST: Final = "keys.example"
_EACH: Final = 100
_GAP: Final = 1.0
"""Seconds after a change in which what it costs is still counted."""
_CHANGES: Final = 8


def _bundle(number: int, count: int, revoked: int = 0) -> list[manifests.Body]:
    """A Consumer with its keys, but for the first `revoked`."""
    about = {"name": f"c{number}", "namespace": worlds.NAMESPACE}
    keys = {f"k{at}": _key(number, at) for at in range(revoked, min(_EACH, count))}
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": about, "stringData": keys},
        {
            "apiVersion": "dragoman.dev/v1alpha1",
            "kind": "Consumer",
            "metadata": about,
            "spec": {"apiKeys": [{"name": f"c{number}"}], "groups": ["staff"], "plan": "gold"},
        },
    ]


def _key(number: int, at: int) -> str:
    return f"key-{number:06}-{at:03}-0123456789abcdef"


def _line(number: int, at: int) -> str:
    return f"x-api-key: {_key(number, at)}"


def gateway(port: int) -> list[manifests.Body]:
    """One route, which answers by itself."""
    redirect = {"type": "RequestRedirect", "requestRedirect": {"statusCode": 302, "hostname": "b.example"}}
    return [
        manifests.gateway_class(),
        manifests.gateway(manifests.listener("http", port), namespace=worlds.NAMESPACE),
        manifests.http_route(
            "keys", manifests.rule(filters=[redirect]), hostnames=[_HOST], namespace=worlds.NAMESPACE
        ),
    ]


def policy(**spec: Any) -> manifests.Body:
    """An AuthPolicy for all of it."""
    return {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "AuthPolicy",
        "metadata": {"name": "all", "namespace": worlds.NAMESPACE},
        "spec": {"targetRefs": [{"kind": "Gateway", "name": "edge"}], **spec},
    }


def ask(port: int, header: str) -> bytes:
    """The status, on a connection of its own."""
    try:
        with socket.create_connection(("127.0.0.1", port), 30) as connection:
            connection.sendall(f"GET / HTTP/1.1\r\nhost: {_HOST}\r\n{header}\r\n\r\n".encode())
            return connection.recv(4096)[9:12]
    except OSError:
        return b""


def until(port: int, header: str, status: bytes, limit: float) -> float:
    """When the answer has that status first."""
    end = time.perf_counter() + limit
    while ask(port, header) != status:
        if time.perf_counter() > end:
            raise TimeoutError(f"no {status!r} within {limit:g} s")
        time.sleep(0.0005)
    return time.perf_counter()


async def _measure(folder: Path, count: int) -> dict[str, list[float]]:
    port = net.free_port()
    consumers = max(1, count // _EACH)
    async with AsyncExitStack() as stack:
        plane = Plane(folder / "plane", log_level="warning")
        plane.write("gateway.yaml", *gateway(port), policy(apiKeys={}))
        for number in range(consumers):
            plane.write(f"c{number}.yaml", *_bundle(number, count))
        await plane.start()
        stack.push_async_callback(plane.stop)
        place = folder / "envoy"
        place.mkdir()
        bootstrap = envoy.bare(net.free_port(), envoy.ads(), [envoy.grpc_cluster(plane.xds_port)])
        # As `dragoman run --envoy` does it: at `warning` Envoy writes two lines for each key, at each change.
        proxy = envoy.Envoy(bootstrap, place, log_level="error")
        stack.push_async_callback(proxy.stop)
        await proxy.start()
        await asyncio.to_thread(until, port, _line(consumers - 1, 0), b"302", 120)
        found: dict[str, list[float]] = {"memory": [processes.rss(proxy.pid) / 2**20], "time": []}
        found |= {"envoy": [], "plane": []}
        for step in range(_CHANGES):
            number = step * 7919 % consumers
            revoked = step // consumers + 1
            draft = folder / "draft.yaml"
            draft.write_text(worlds.text(_bundle(number, count, revoked)))
            await asyncio.sleep(_GAP)
            before = processes.exact_cpu(proxy.pid), processes.exact_cpu(plane.pid)
            begun = time.perf_counter()
            draft.rename(plane.folder / f"c{number}.yaml")
            refused = await asyncio.to_thread(until, port, _line(number, revoked - 1), b"401", 60)
            found["time"].append(refused - begun)
            await asyncio.sleep(_GAP)
            found["envoy"].append(processes.exact_cpu(proxy.pid) - before[0])
            found["plane"].append(processes.exact_cpu(plane.pid) - before[1])
            if ask(port, _line(number, _EACH - 1)) != b"302" and count >= _EACH:
                raise RuntimeError("another key of the client does not pass any more")
        return found


async def measure(folder: Path, sizes: Iterable[int]) -> list[Table]:
    """One row per number of keys."""
    table = Table(
        "API keys: one among N is revoked",
        (
            "keys",
            "refused after, median ms",
            "90 % ms",
            "Envoy's CPU ms",
            "control plane's CPU ms",
            "Envoy MiB",
        ),
        notes=["from the rename of its Secret's file to the first 401; CPU of the second after it included"],
    )
    first: dict[str, list[float]] = {}
    for count in sizes:
        place = folder / f"keys-{count}"
        place.mkdir()
        found = await _measure(place, count)
        first = first or found
        table.rows.append(
            (
                f"{count:,}",
                ms(median(found["time"])),
                ms(high(found["time"])),
                f"{ms(median(found['envoy']))} ({ratio(median(found['envoy']), median(first['envoy']))})",
                f"{ms(median(found['plane']))} ({ratio(median(found['plane']), median(first['plane']))})",
                f"{found['memory'][0]:.0f}",
            )
        )
        table.goals.append(Goal(f"{count:,} keys: refused within", high(found["time"]), 1.0, "s"))
    return [table]
