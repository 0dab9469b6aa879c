"""One small change to many proxies: time until the last ACK, CPU and memory per stream.

`dragoman run` serves simulated proxies (`proxies`), each on a connection of its own. A file is renamed, one
route changes, every stream gets one response: a small one, or a table of 100 KB that is not cut. The same
proxies are served by the bare server in the same run.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import processes, worlds
from benchmarks.children import Child
from benchmarks.prepared import Prepared, subscriptions
from benchmarks.report import Goal, Table, median, ms, ratio
from dragoman import resource
from tests.harness import net
from tests.harness.plane import Plane

_SMALL = 3
"""A table of so few routes that the response is about a kilobyte."""

_LARGE = 500
"""A table of 100 KB."""

_CHANGES = 9
_MOST = 1.5
_MOST_KB = 80


@dataclass(slots=True)
class Outcome:
    last: list[float] = field(default_factory=list)
    cpu: float = 0.0
    memory: float = 0.0
    connect: float = 0.0


async def measure(folder: Path, sizes: Iterable[int]) -> list[Table]:
    table = Table(
        "Fan-out: one route's change to N streams",
        (
            "streams",
            "protocol",
            "response KB",
            "server",
            "last ACK ms",
            "to bare",
            "CPU us per stream and change",
            "RSS KB per stream",
            "CPU ms per connect",
        ),
        notes=[
            f"one process of simulated proxies; {_CHANGES} changes, medians; all routes to one Service",
            "Dragoman's time begins with the rename of a YAML file, the bare server's with the push command",
        ],
    )
    kinds = [(mode, count, _SMALL) for mode in ("delta", "sotw") for count in sizes]
    for mode, count, routes in (*kinds, ("delta", max(count for _, count, _ in kinds), _LARGE)):
        place = folder / f"fanout-{mode}-{count}-{routes}"
        place.mkdir()
        listen = net.free_port()
        prepared = Prepared(routes, listen=listen, backend=9, whole=True, alone=True)
        names = place / "names.json"
        names.write_text(json.dumps(subscriptions(prepared.view)))
        floor, size = await asyncio.to_thread(_bare, place, prepared, names, mode, count)
        found = await _dragoman(place, listen, names, mode, count, routes)
        for server, outcome in (("Dragoman", found), ("bare gRPC", floor)):
            table.rows.append(
                (
                    f"{count:,}",
                    mode,
                    f"{size / 1000:.1f}",
                    server,
                    ms(median(outcome.last)),
                    ratio(median(outcome.last), median(floor.last)),
                    f"{outcome.cpu * 1e6:.0f}",
                    f"{outcome.memory / 1024:.0f}",
                    f"{outcome.connect * 1e3:.2f}",
                )
            )
        if mode == "delta" and count == 1000:
            share = median(found.last) / median(floor.last)
            table.goals.append(Goal(f"1,000 delta streams, {size / 1000:.0f} KB, to bare", share, _MOST, "x"))
            if routes == _SMALL:
                table.goals.append(Goal("memory per delta stream", found.memory / 1024, _MOST_KB, "KB"))
    return [table]


async def _dragoman(place: Path, listen: int, names: Path, mode: str, count: int, routes: int) -> Outcome:
    plane = Plane(place / "plane", log_level="warning", environment={"DRAGOMAN_GATEWAYS_SCOPED_HOSTS": "0"})
    worlds.write(plane.folder, routes, listen=listen, backend=9, alone=True)
    await plane.start()
    try:
        draft = place / "draft.yaml"

        def change(step: int) -> None:
            draft.rename(worlds.path(plane.folder, 1))

        def prepare(step: int) -> None:
            draft.write_text(worlds.text([worlds.route(1, revision=step, service=worlds.SHARED)]))

        return await asyncio.to_thread(
            _follow, plane.xds_port, plane.pid, mode, count, names, prepare, change
        )
    finally:
        await plane.stop()


def _bare(place: Path, prepared: Prepared, names: Path, mode: str, count: int) -> tuple[Outcome, int]:
    """What the bare server takes, and the size of the resource that changes, in bytes."""
    state = prepared.state()
    for step in range(1, _CHANGES + 1):
        changed = prepared.changed(worlds.route(1, revision=step, service=worlds.SHARED))
        (item,) = (found for found in changed if found.type_url == resource.ROUTE)
        state.variants.append((item.type_url, item.name, item.version, item.payload))
    stored = place / "state.pickle"
    stored.write_bytes(pickle.dumps(state))
    port = net.free_port()
    with Child("benchmarks.bare", port, stored) as server:
        server.expect("ready")
        outcome = _follow(
            port, server.pid, mode, count, names, lambda _: None, lambda step: server.say(f"push {step - 1}")
        )
    return outcome, len(state.variants[-1][3])


def _follow(port, pid, mode, count, names, prepare, change) -> Outcome:  # type: ignore[no-untyped-def]
    """Connects `count` proxies, makes the changes one by one, and reads the server's bill."""
    outcome = Outcome()
    memory, cpu = processes.rss(pid), processes.cpu(pid)
    with Child("benchmarks.proxies", port, count, mode, names) as proxies:
        proxies.hear()
        outcome.memory = (processes.rss(pid) - memory) / count
        outcome.connect = (processes.cpu(pid) - cpu) / count
        cpu = processes.cpu(pid)
        for step in range(1, _CHANGES + 1):
            prepare(step)
            proxies.say(f"arm {resource.ROUTE}")
            proxies.expect("armed")
            begun = time.monotonic()
            change(step)
            outcome.last.append(json.loads(proxies.hear())["last"] - begun)
            time.sleep(0.1)
        outcome.cpu = (processes.cpu(pid) - cpu) / count / _CHANGES
    return outcome
