"""Changes under load: edits of a route's backend, its rules in another order, endpoints rolled. Which
requests get no 200, which connections are closed?

One host of many is asked over some connections without a pause while its route is edited again and again;
the next edit comes a moment after the last one is served. Among 100 routes there is one table, among 1,000
there are scopes. Called by `__main__`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from benchmarks import propagation, worlds
from benchmarks.propagation import Bench
from benchmarks.report import Goal, Table
from tests.harness.load import Load
from tests.harness.manifests import Body

_EDITS: Final = 30
_CONNECTIONS: Final = 8
_GAP: Final = 0.1
"""Seconds from an edit that is served to the next."""

_NUMBER: Final = 7

Change = Callable[[Bench, int], tuple[list[Body], bytes]]
"""Of a step: what the route's file holds, and what its answers show then."""


def _backend(bench: Bench, step: int) -> tuple[list[Body], bytes]:
    """To the Service for all and back to its own, which comes and goes with the route."""
    if step % 2:
        return [worlds.route(_NUMBER, revision=step, service=worlds.SHARED)], _revision(step)
    return worlds.bundle(_NUMBER, bench.backends[1], revision=step), _revision(step)


def _order(bench: Bench, step: int) -> tuple[list[Body], bytes]:
    bodies = worlds.bundle(_NUMBER, bench.backends[1], revision=step)
    if step % 2:
        bodies[0]["spec"]["rules"].reverse()
    return bodies, _revision(step)


def _endpoints(bench: Bench, step: int) -> tuple[list[Body], bytes]:
    backend = step % 2
    return worlds.bundle(_NUMBER, bench.backends[backend]), b"x-pod: " + (b"one", b"two")[backend]


def _revision(step: int) -> bytes:
    return f"x-revision: {step}\r\n".encode()


_CHANGES: Final[dict[str, Change]] = {
    "backend of the route": _backend,
    "rules in another order": _order,
    "endpoint replaced": _endpoints,
}


async def measure(folder: Path, sizes: Iterable[int]) -> list[Table]:
    table = Table(
        "Changes under load",
        ("routes", "change", "edits", "requests", "not 200", "connections closed"),
        notes=[
            f"{_CONNECTIONS} connections ask for the edited host; {_GAP:g} s from an edit served to the next"
        ],
    )
    failed = closed = 0
    for count in sizes:
        place = folder / f"hitless-{count}"
        place.mkdir()
        async with propagation.running(place, count) as bench:
            for name, change in _CHANGES.items():
                load = Load(bench.port, worlds.host(_NUMBER), connections=_CONNECTIONS)
                async with load:
                    await asyncio.to_thread(_edit, bench, change)
                    await load.more(_CONNECTIONS * 4)
                failures, more = load.failures.total(), load.opened - _CONNECTIONS
                table.rows.append(
                    (f"{count:,}", name, str(_EDITS), f"{load.done:,}", str(failures), str(more))
                )
                failed, closed = failed + failures, closed + more
    table.goals = [Goal("requests without a 200", failed, 0, ""), Goal("connections closed", closed, 0, "")]
    return [table]


def _edit(bench: Bench, change: Change) -> None:
    for step in range(1, _EDITS + 1):
        bodies, shown = change(bench, step)
        bench.change(_NUMBER, bodies)
        bench.probe.until(worlds.host(_NUMBER), shown)
        time.sleep(_GAP)
