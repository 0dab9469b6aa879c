"""How long a new route takes to be served behind other changes: the route probe, with 5,000 routes and
services, loaded and not.

Each loaded probe stands behind ten edits, made at the same moment before it: five of routes, five of
endpoints, each of a file with that object alone. Loaded and unloaded probes take turns, so that both see the
same machine. After each loaded one all of its edits must be served, else the run fails. The world and the
asking are those of `propagation`. Called by `__main__`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks import propagation, worlds
from benchmarks.propagation import Bench
from benchmarks.report import Goal, Table, mean, median, ms, ratio
from tests.harness.manifests import Body

_EDITS: Final = 5
_MOST: Final = 1.3
_GAP: Final = 0.02
_STRIDE: Final = 7919


class Edit(NamedTuple):
    """What a file becomes, and the bytes in answers of a host that show it."""

    path: Path
    bodies: list[Body]
    host: str
    sign: bytes


async def measure(folder: Path, count: int, probes: int = 150) -> list[Table]:
    """`probes` of each kind among `count` routes."""
    async with propagation.running(folder, count, apart=True) as bench:
        unloaded, loaded, used = await asyncio.to_thread(_turns, bench, count, probes)
        unexpected = bench.probe.unexpected
    table = Table(
        f"Route probe under churn: a route added to {count:,} routes and services, from 404 to the first 200",
        ("each probe behind", "mean ms", "median ms", "max ms", "mean to unloaded", "Dragoman CPU ms"),
        notes=[
            f"{probes} probes of each kind, in turns; each asked for every 5 ms",
            "loaded: the edits are renamed into place just before the probe's file, in one go",
            "CPU of the control plane for each probe with its edits, until all of them are served",
        ],
    )
    for name, times, cpu in (
        ("nothing", unloaded, used[0]),
        (f"{_EDITS} route edits, {_EDITS} endpoint edits", loaded, used[1]),
    ):
        cells = (ms(mean(times)), ms(median(times)), ms(max(times)), ratio(mean(times), mean(unloaded)))
        table.rows.append((name, *cells, ms(cpu / probes)))
    table.goals = [
        Goal("mean, loaded to unloaded", mean(loaded) / mean(unloaded), _MOST, "x"),
        Goal("answers that are neither 404 nor 200", unexpected, 0, ""),
    ]
    return [table]


def _turns(bench: Bench, count: int, probes: int) -> tuple[list[float], list[float], tuple[float, float]]:
    """Seconds of the unloaded probes, of the loaded ones, and the control plane's CPU seconds for both."""
    unloaded, loaded, used = [], [], [0.0, 0.0]
    for turn in range(probes):
        first = count + 2 * turn
        before = bench.cpu()[0]
        unloaded.append(bench.add(first))
        between = bench.cpu()[0]
        used[0] += between - before
        time.sleep(_GAP)
        edits = [edit for step in range(_EDITS) for edit in _edits(bench, count, turn * _EDITS + step)]
        loaded.append(_behind(bench, first + 1, edits))
        used[1] += bench.cpu()[0] - between
        time.sleep(_GAP)
    return unloaded, loaded, (used[0], used[1])


def _edits(bench: Bench, count: int, step: int) -> Iterable[Edit]:
    """A route edit and an endpoint edit, of another route's service. Where there are more edits than routes,
    endpoints move back again."""
    around, number = step // count, step * _STRIDE % count
    other = (number + count // 2) % count
    first, second = bench.backends
    route = worlds.route(number, revision=step + 1)
    sign = f"x-revision: {step + 1}\r\n".encode()
    yield Edit(worlds.path(bench.folder, number), [route], worlds.host(number), sign)
    port, pod = (first, b"x-pod: one") if around % 2 else (second, b"x-pod: two")
    moved = worlds.endpoints(other, port)
    yield Edit(worlds.endpoints_path(bench.folder, other), [moved], worlds.host(other), pod)


def _behind(bench: Bench, number: int, edits: Sequence[Edit]) -> float:
    """Seconds until the new route `number` is served, whose file comes after these edits; returns when those
    are served, too."""
    own = worlds.path(bench.folder, number)
    for edit in edits:
        worlds.replace(edit.path, edit.bodies)
        if edit.sign in bench.probe.ask(edit.host):
            raise RuntimeError(f"{edit.host} answers as after its change before it")
    worlds.replace(own, bench.added(number))
    for edit in edits:
        propagation.place(edit.path)
    begun = propagation.place(own)
    taken = bench.served(number) - begun
    for edit in edits:
        bench.probe.until(edit.host, edit.sign)
    return taken
