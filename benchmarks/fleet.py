"""Many proxies on one control plane or two: what they cost, and what happens when a control plane dies.

`dragoman run` serves a table of 100 routes to simulated proxies (`proxies`). First one route changes, and
the last ACK is waited for. Then a control plane is killed. Alone it is started again at once; of two, the
other one takes all, as behind a load balancer. The proxies come back by Envoy's back-off, with nothing in
hand, which is the worst case, and everyone's first configuration is sent again. `docs/scale.md` reads the
figures.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import processes, worlds
from benchmarks.children import Child
from benchmarks.prepared import Prepared, subscriptions
from benchmarks.report import Table, median, ms
from tests.harness import net
from tests.harness.plane import Plane

_ROUTES = 100
_CHANGES = 5
_MB = 1024 * 1024


@dataclass(slots=True)
class Outcome:
    """`memory`: bytes per stream in all control planes together; `cpu`: seconds per stream and change."""

    last: list[float] = field(default_factory=list)
    cpu: float = 0.0
    memory: float = 0.0
    back: float = 0.0
    attempts: float = 0.0
    return_cpu: float = 0.0
    peak: int = 0
    refused: float = 0.0


async def measure(folder: Path, sizes: Iterable[int]) -> list[Table]:
    table = Table(
        "A fleet: one change, and the loss of a control plane",
        (
            "proxies",
            "control planes",
            "last ACK ms",
            "CPU us per proxy and change",
            "RSS KB per proxy",
            "all back after s",
            "attempts per proxy",
            "turned away",
            "CPU ms per return",
            "peak RSS MB",
        ),
        notes=[
            f"{_ROUTES:,} routes in one table; delta; {_CHANGES} changes of one route, medians",
            "one control plane: killed and started again at once; two: one is killed and stays away",
            "back: from SIGKILL until the last proxy has everything; peak and CPU are the survivor's",
            "the simulated proxies are one process and share the machine's cores with the control planes",
        ],
    )
    listen = net.free_port()
    names = folder / "names.json"
    prepared = Prepared(_ROUTES, listen=listen, backend=9)
    names.write_text(json.dumps(subscriptions(prepared.view)))
    for count in sizes:
        for replicas in (1, 2):
            place = folder / f"fleet-{count}-{replicas}"
            found = await _one(place, listen, names, count, replicas, prepared.routed)
            table.rows.append(
                (
                    f"{count:,}",
                    str(replicas),
                    ms(median(found.last)),
                    f"{found.cpu * 1e6:.0f}",
                    f"{found.memory / 1024:.0f}",
                    f"{found.back:.1f}",
                    f"{found.attempts / count:.1f}",
                    f"{found.refused:.0f}",
                    f"{found.return_cpu * 1e3:.2f}",
                    f"{found.peak / _MB:.0f}",
                )
            )
    return [table]


async def _one(place: Path, listen: int, names: Path, count: int, replicas: int, routed: str) -> Outcome:
    planes = [Plane(place / str(number), log_level="error") for number in range(replicas)]
    try:
        for plane in planes:
            worlds.write(plane.folder, _ROUTES, listen=listen, backend=9)
            await plane.start()
        ports = ",".join(str(plane.xds_port) for plane in planes)
        memory = sum(processes.rss(plane.pid) for plane in planes)
        with Child("benchmarks.proxies", ports, count, "delta", names) as proxies:
            await asyncio.to_thread(proxies.hear)
            found = Outcome()
            found.memory = (sum(processes.rss(plane.pid) for plane in planes) - memory) / count
            await _change(planes, proxies, found, count, routed)
            await _lose(planes, proxies, found, count)
            return found
    finally:
        for plane in planes:
            await plane.stop()


async def _change(planes: list[Plane], proxies: Child, found: Outcome, count: int, routed: str) -> None:
    cpu = sum(processes.cpu(plane.pid) for plane in planes)
    for step in range(1, _CHANGES + 1):
        text = worlds.text(worlds.bundle(1, 9, revision=step))
        drafts = [plane.folder.parent / "draft.yaml" for plane in planes]
        for draft in drafts:
            draft.write_text(text)
        proxies.say(f"arm {routed}")
        proxies.expect("armed")
        begun = time.monotonic()
        for plane, draft in zip(planes, drafts, strict=True):
            draft.rename(worlds.path(plane.folder, 1))
        found.last.append(json.loads(await asyncio.to_thread(proxies.hear))["last"] - begun)
        await asyncio.sleep(0.1)
    found.cpu = (sum(processes.cpu(plane.pid) for plane in planes) - cpu) / count / _CHANGES


async def _lose(planes: list[Plane], proxies: Child, found: Outcome, count: int) -> None:
    survivor = planes[-1]
    proxies.say("return")
    proxies.expect("returning")
    cpu = 0.0 if len(planes) == 1 else processes.cpu(survivor.pid)
    begun = time.monotonic()
    await planes[0].kill()
    if len(planes) == 1:
        await survivor.start(ready=False)
    told = json.loads(await asyncio.to_thread(proxies.hear))
    found.back = told["back"] - begun
    found.attempts = told["attempts"]
    found.return_cpu = (processes.cpu(survivor.pid) - cpu) / count
    found.peak = processes.peak(survivor.pid)
    found.refused = sum((await survivor.metrics("dragoman_xds_streams_refused")).values())
