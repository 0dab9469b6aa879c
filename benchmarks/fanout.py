"""One small change to many proxies: time until the last ACK, CPU and memory per stream.

`dragoman run` serves simulated proxies (`proxies`), each on a connection of its own. A file is renamed, one
route changes, every stream gets one small response. The same proxies are served by the bare server in the
same run.
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

_ROUTES = 3
"""A table of so few routes that the response is about a kilobyte."""

_CHANGES = 9


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
            "server",
            "last ACK ms",
            "to bare",
            "CPU us per stream and change",
            "RSS KB per stream",
            "CPU ms per connect",
        ),
        notes=[
            f"one process of simulated proxies; {_CHANGES} changes, medians; a response of about 1 KB",
            "Dragoman's time begins with the rename of a YAML file, the bare server's with the push command",
        ],
    )
    for mode in ("delta", "sotw"):
        for count in sizes:
            place = folder / f"fanout-{mode}-{count}"
            place.mkdir()
            listen = net.free_port()
            prepared = Prepared(_ROUTES, listen=listen, backend=9)
            names = place / "names.json"
            names.write_text(json.dumps(subscriptions(prepared.view)))
            floor = await asyncio.to_thread(_bare, place, prepared, names, mode, count)
            found = await _dragoman(place, listen, names, mode, count)
            for server, outcome in (("Dragoman", found), ("bare gRPC", floor)):
                table.rows.append(
                    (
                        f"{count:,}",
                        mode,
                        server,
                        ms(median(outcome.last)),
                        ratio(median(outcome.last), median(floor.last)),
                        f"{outcome.cpu * 1e6:.0f}",
                        f"{outcome.memory / 1024:.0f}",
                        f"{outcome.connect * 1e3:.2f}",
                    )
                )
            if mode == "delta" and count == 1000:
                table.goals.append(Goal("1,000 delta streams: last ACK", median(found.last), 0.3, "s"))
                table.goals.append(Goal("memory per delta stream", found.memory / 1024, 80, "KB"))
    return [table]


async def _dragoman(place: Path, listen: int, names: Path, mode: str, count: int) -> Outcome:
    plane = Plane(place / "plane", log_level="warning")
    worlds.write(plane.folder, _ROUTES, listen=listen, backend=9)
    await plane.start()
    try:
        draft = place / "draft.yaml"

        def change(step: int) -> None:
            draft.rename(worlds.path(plane.folder, 1))

        def prepare(step: int) -> None:
            draft.write_text(worlds.text(worlds.bundle(1, 9, revision=step)))

        return await asyncio.to_thread(
            _follow, plane.xds_port, plane.pid, mode, count, names, prepare, change
        )
    finally:
        await plane.stop()


def _bare(place: Path, prepared: Prepared, names: Path, mode: str, count: int) -> Outcome:
    state = prepared.state()
    for step in range(1, _CHANGES + 1):
        changed = prepared.changed(worlds.route(1, revision=step))
        (item,) = (found for found in changed if found.type_url == resource.ROUTE)
        state.variants.append((item.type_url, item.name, item.version, item.payload))
    stored = place / "state.pickle"
    stored.write_bytes(pickle.dumps(state))
    port = net.free_port()
    with Child("benchmarks.bare", port, stored) as server:
        server.expect("ready")
        return _follow(
            port, server.pid, mode, count, names, lambda _: None, lambda step: server.say(f"push {step - 1}")
        )


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
