"""Cold start: from a folder of YAML to the first complete snapshot on the wire, and to an Envoy that serves.

The control plane is started as users start it. A simulated proxy waits on its port and asks for everything:
when it has it all, the snapshot is complete. CPU and memory are the process's own, interpreter and imports
included.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks import bootstraps, processes, worlds
from benchmarks.children import Child
from benchmarks.prepared import Prepared, subscriptions
from benchmarks.probe import Probe
from benchmarks.report import Goal, Table
from tests.harness import envoy, net
from tests.harness.plane import Plane

_MB = 1024 * 1024


async def measure(folder: Path, sizes: Iterable[int]) -> list[Table]:
    table = Table(
        "Cold start: YAML to first snapshot, and to Envoy serving",
        (
            "HTTPRoutes",
            "Services",
            "files",
            "documents",
            "first snapshot s",
            "of it CPU s",
            "peak RSS MB",
            "Envoy serving s",
            "yaml.CSafeLoader alone s",
        ),
        notes=[
            "first snapshot: process started until a proxy has all clusters, endpoints, listeners and routes",
            "a YAML file for each HTTPRoute: with a Service and EndpointSlice of its own, or one for all",
            "Envoy (with `dragoman bootstrap`) serving: both started at once, until the last route answers",
        ],
    )
    with Child("benchmarks.answering") as answering:
        backend, _ = map(int, answering.hear().split())
        found = [(count, False) for count in sizes]
        for count, alone in (*found, (max(found)[0], True)):
            place = folder / f"cold-{count}-{alone}"
            listen = net.free_port()
            plane = Plane(place, log_level="warning")
            worlds.write(plane.folder, count, listen=listen, backend=backend, alone=alone)
            names = place / "names.json"
            prepared = Prepared(count, listen=listen, backend=backend, alone=alone)
            names.write_text(json.dumps(subscriptions(prepared.view)))
            del prepared
            wall, cpu, peak = await _snapshot(plane, names)
            serving = await _serving(place, plane, listen, count)
            loader = _loader(plane.folder)
            table.rows.append(
                (
                    f"{count:,}",
                    f"{1 if alone else count:,}",
                    f"{count + 1 + alone:,}",
                    f"{count + 4 if alone else 3 * count + 2:,}",
                    f"{wall:.2f}",
                    f"{cpu:.2f}",
                    f"{peak / _MB:.0f}",
                    f"{serving:.2f}",
                    f"{loader:.2f}",
                )
            )
            if count == 10_000:
                named = f"10,000 HTTPRoutes{' of one Service' if alone else ''}"
                table.goals.append(Goal(f"{named} from YAML to Envoy serving", serving, 3, "s"))
                table.goals.append(Goal(f"memory at {named}", peak / _MB, 200, "MB"))
    return [table]


async def _snapshot(plane: Plane, names: Path) -> tuple[float, float, int]:
    """Wall and CPU seconds, and peak memory in bytes, until one proxy has everything."""
    try:
        with Child("benchmarks.proxies", plane.xds_port, 1, "delta", names) as proxy:
            await asyncio.sleep(0.5)  # the proxy's own imports
            begun = time.monotonic()
            await plane.start(ready=False)
            served = json.loads(await asyncio.to_thread(proxy.hear))["served"]
            return served - begun, processes.cpu(plane.pid), processes.peak(plane.pid)
    finally:
        await plane.stop()


async def _serving(folder: Path, plane: Plane, listen: int, count: int) -> float:
    async with AsyncExitStack() as stack:
        process = envoy.Envoy(bootstraps.written(plane.xds_port), folder)
        stack.push_async_callback(process.stop)
        stack.push_async_callback(plane.stop)
        begun = time.perf_counter()
        await plane.start(ready=False)
        await process.start(ready=False)
        probe = Probe(listen)
        stack.callback(probe.close)
        done = await asyncio.to_thread(probe.until, worlds.host(count - 1), b"HTTP/1.1 200", limit=300)
        return done - begun


_LOADER = """
import pathlib, sys, time, yaml
begun = time.process_time()
for path in pathlib.Path(sys.argv[1]).iterdir():
    list(yaml.load_all(path.read_text(), yaml.CSafeLoader))
print(time.process_time() - begun)
"""


def _loader(folder: Path) -> float:
    """CPU seconds that the usual way of reading the same files takes, without doing anything with them."""
    done = subprocess.run(
        [sys.executable, "-c", _LOADER, str(folder)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)
