"""What Envoy needs with 5,000 routes and services: memory, series, and CPU while routes change.

`dragoman run` on a folder serves one Envoy after the other, each with 16 workers: one with the bootstrap that
`dragoman bootstrap` writes, one that keeps the statistics of each cluster too, and as the rival one with the
same bootstrap less what makes it lean, which is Envoy's own default; then one whose clusters are fetched at
the first request for them (`gateways.lazy_clusters`). 100 of the services are asked for. Series are the lines
of `/stats/prometheus`; CPU is that of all of Envoy's threads, first idle, then with one route edited a
second, and the control plane's own meanwhile. Called by `__main__`.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import bootstraps, processes, worlds
from benchmarks.children import Child
from benchmarks.probe import Probe
from benchmarks.report import Goal, Table, ratio
from tests.harness import envoy, net
from tests.harness.plane import Plane

_WORKERS: Final = 16
_SETTLED: Final = 6.0
"""Seconds after the first answer: Envoy flushes its statistics every five."""
_IDLE: Final = 15
_EDITS: Final = 30
_STRIDE: Final = 7919
_MB: Final = 1024 * 1024
_USED: Final = 100
_MOST_MB: Final = 320.0
_MOST_LAZY_MB: Final = 100.0
_MOST_SERIES: Final = 1_000
_MOST_CPU: Final = 0.01
_MOST_OWN_MB: Final = 120.0
"""Of the control plane with 5,000 routes."""

_LEAN: Final = "dragoman bootstrap"
_OWN: Final = "Envoy's own default"
_LAZY: Final = f"dragoman bootstrap, lazy clusters, {_USED} used"

Json = dict[str, Any]


@dataclass(slots=True)
class Found:
    """Bytes, series, bytes and seconds of a scrape, and shares of a core: idle, with edits, and the
    control plane with edits."""

    resident: int
    allocated: int
    series: int
    scrape: int
    scraping: float
    idle: float
    churning: float
    serving: float


async def measure(folder: Path, count: int) -> list[Table]:
    table = Table(
        f"Envoy with {count:,} routes and {count:,} services, {_WORKERS} workers",
        (
            "bootstrap",
            "resident MB",
            "to its own default",
            "allocated MB",
            "series",
            "scrape MB",
            "scrape s",
            "CPU idle",
            "CPU, an edit a second",
            "Dragoman's",
        ),
        notes=[
            "series: lines of `/stats/prometheus`; CPU: of one core, all threads",
            f"{_EDITS} edits of one route each, of {_EDITS} different routes",
        ],
    )
    found: dict[str, Found] = {}
    held = 0
    with Child("benchmarks.answering") as answering:
        backend = int(answering.hear().split()[0])
        for lazy in (False, True):
            place = folder / str(lazy)
            settings = {"DRAGOMAN_GATEWAYS_LAZY_CLUSTERS": str(lazy).lower()}
            plane = Plane(place, log_level="warning", environment=settings)
            listen = net.free_port()
            worlds.write(plane.folder, count, listen=listen, backend=backend)
            async with plane:
                for name, bootstrap in _lazy(plane) if lazy else _bootstraps(plane):
                    found[name] = await _one(place, plane, bootstrap, listen, backend, count)
                    held = held or processes.rss(plane.pid)
    own, lean, lazily = found[_OWN], found[_LEAN], found[_LAZY]
    for name, one in found.items():
        table.rows.append((name, *_cells(one, own)))
    table.goals = [
        Goal("resident memory", lean.resident / _MB, _MOST_MB, "MB"),
        Goal("resident memory, lazy clusters", lazily.resident / _MB, _MOST_LAZY_MB, "MB"),
        Goal("series", lean.series, _MOST_SERIES, ""),
        Goal("CPU with an edit a second", lean.churning, _MOST_CPU, "of a core"),
        Goal("Dragoman's CPU with an edit a second", lean.serving, _MOST_CPU, "of a core"),
        Goal("Dragoman's resident memory", held / _MB, _MOST_OWN_MB, "MB"),
    ]
    return [table]


def _bootstraps(plane: Plane) -> Iterator[tuple[str, Json]]:
    yield _LEAN, bootstraps.written(plane.xds_port)
    yield "with --cluster-statistics '*'", bootstraps.written(plane.xds_port, "--cluster-statistics", "*")
    yield _OWN, _plain(bootstraps.written(plane.xds_port))


def _lazy(plane: Plane) -> Iterator[tuple[str, Json]]:
    yield _LAZY, bootstraps.written(plane.xds_port)


def _plain(made: Json) -> Json:
    """The same without what makes it lean."""
    return {
        name: value
        for name, value in made.items()
        if name not in {"stats_config", "deferred_stat_options", "cluster_manager"}
    }


async def _one(folder: Path, plane: Plane, bootstrap: Json, listen: int, backend: int, count: int) -> Found:
    async with AsyncExitStack() as stack:
        process = envoy.Envoy(bootstrap, folder, workers=_WORKERS, drain=600)
        stack.push_async_callback(process.stop)
        await process.start()
        probe = Probe(listen)
        stack.callback(probe.close)
        await asyncio.to_thread(probe.until, worlds.host(count - 1), b"HTTP/1.1 200", limit=120)
        for number in range(min(_USED, count)):
            await asyncio.to_thread(probe.until, worlds.host(number), b"HTTP/1.1 200")
        await asyncio.sleep(_SETTLED)
        resident = processes.rss(process.pid)
        allocated = int(json.loads(await process.get("/memory"))["allocated"])
        begun = time.perf_counter()
        text = await asyncio.to_thread(_scraped, process.admin)
        scraping = time.perf_counter() - begun
        lines = sum(1 for line in text.splitlines() if line and not line.startswith(b"#"))
        idle = await asyncio.to_thread(_idle, process.pid)
        pids = (process.pid, plane.pid)
        used = await asyncio.to_thread(_churn, pids, plane.folder, backend, count, probe)
        return Found(resident, allocated, lines, len(text), scraping, idle, *used)


def _scraped(admin: str) -> bytes:
    with urllib.request.urlopen(f"{admin}/stats/prometheus", timeout=120) as answer:
        text: bytes = answer.read()
        return text


def _idle(pid: int) -> float:
    """The share of a core that it uses with nothing to do."""
    before, begun = processes.exact_cpu(pid), time.perf_counter()
    time.sleep(_IDLE)
    return (processes.exact_cpu(pid) - before) / (time.perf_counter() - begun)


def _churn(
    pids: tuple[int, int], folder: Path, backend: int, count: int, probe: Probe
) -> tuple[float, float]:
    """The same of both while one route is edited each second. The last edit must be served in the end."""
    revision = time.time_ns()
    number = 0
    before, begun = [processes.exact_cpu(pid) for pid in pids], time.perf_counter()
    for step in range(_EDITS):
        number = step * _STRIDE % count
        target = worlds.path(folder, number)
        worlds.replace(target, worlds.bundle(number, backend, revision=revision + step))
        (target.parent.parent / f"{target.name}.draft").rename(target)
        time.sleep(max(0.0, begun + step + 1 - time.perf_counter()))
    took = time.perf_counter() - begun
    envoy_used, used = (
        (processes.exact_cpu(pid) - then) / took for pid, then in zip(pids, before, strict=True)
    )
    probe.until(worlds.host(number), f"x-revision: {revision + _EDITS - 1}\r\n".encode())
    return envoy_used, used


def _cells(one: Found, own: Found) -> tuple[str, ...]:
    return (
        f"{one.resident / _MB:.0f}",
        ratio(one.resident, own.resident),
        f"{one.allocated / _MB:.0f}",
        f"{one.series:,}",
        f"{one.scrape / _MB:.2f}",
        f"{one.scraping:.2f}",
        f"{one.idle:.2%}",
        f"{one.churning:.2%}",
        f"{one.serving:.2%}",
    )
