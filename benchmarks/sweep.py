"""From how many host names on it pays to cut a route table into scopes: the table behind the default of
`gateways.scoped_hosts`.

For each size two pairs of control plane and Envoy, one with a whole table, one with scopes. Files are edited,
in turns, and Envoy's main thread's CPU time for each edit is what the shape costs for a change; then wrk asks
both, in turns, and Envoy's CPU time for each request is what it costs for traffic. That needs `wrk`. Called
by `__main__`.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks import propagation, requests, worlds
from benchmarks.propagation import Bench
from benchmarks.report import Goal, Table, median, ms, ratio
from benchmarks.requests import Shape
from dragoman import config

_SIZES: Final = (50, 100, 150, 200, 300, 500, 1000)
_DEFAULT: Final = config.Gateways().scoped_hosts
_EDITS: Final = 20
_ROUNDS: Final = 3
_SECONDS: Final = 1
_GAP: Final = 0.03
_MOST: Final = 5.0
"""Milliseconds of Envoy's main thread: a whole table of the default's size may cost so much for a change."""

_WAYS: Final = {"one table": 0, "scopes": 1}


@dataclass(slots=True)
class Found:
    """Of one size in one shape: CPU seconds of Envoy's main thread for each edit, seconds until it is served;
    CPU microseconds of Envoy for each request, by rounds."""

    applied: list[float] = field(default_factory=list)
    served: list[float] = field(default_factory=list)
    asked: list[float] = field(default_factory=list)


async def measure(folder: Path, *, quick: bool) -> list[Table]:
    sizes = _SIZES[::2] if quick else _SIZES
    table = Table(
        f"One table or scopes: what a change and a request cost (`gateways.scoped_hosts`: {_DEFAULT})",
        (
            "hosts",
            "change, one table: CPU ms",
            "scopes: CPU ms",
            "served, one table: ms",
            "scopes: ms",
            "scopes, CPU to one table",
            "requests a change pays for",
        ),
    )
    results = {count: await _size(folder, count) for count in sizes}
    extra = [
        cut - whole
        for one in results.values()
        for whole, cut in zip(one["one table"].asked, one["scopes"].asked, strict=True)
    ]
    more = median(extra) if extra else 0.0
    for count, one in results.items():
        whole, cut = (median(one[way].applied) for way in _WAYS)
        waits = (ms(median(one[way].served)) for way in _WAYS)
        paid = f"{(whole - cut) * 1e6 / more:,.0f}" if more > 0 and whole > cut else "-"
        table.rows.append((f"{count:,}", ms(whole), ms(cut), *waits, ratio(cut, whole), paid))
    table.notes = [
        f"{_EDITS} edits each; CPU: of Envoy's main thread for each, the median",
        f"a request costs {more:.1f} us more with scopes: the median of {len(extra)} pairs of rounds",
        "requests a change pays for: with fewer for each change, scopes cost Envoy less CPU in all",
    ]
    if _DEFAULT in results:
        whole, cut = (median(results[_DEFAULT][way].applied) for way in _WAYS)
        table.goals = [
            Goal(f"change of one table of {_DEFAULT}", whole * 1000, _MOST, "ms"),
            Goal("scopes to that", cut / whole, 1.0, "x"),
        ]
    return [table]


async def _size(folder: Path, count: int) -> dict[str, Found]:
    found = {way: Found() for way in _WAYS}
    async with AsyncExitStack() as stack:
        benches: list[tuple[Bench, Found]] = []
        for way, least in _WAYS.items():
            place = folder / f"{count}-{least}"
            place.mkdir()
            bench = await stack.enter_async_context(propagation.running(place, count, scoped=least))
            benches.append((bench, found[way]))
        await asyncio.to_thread(_edited, benches, count)
        if shutil.which("wrk") is not None:
            await asyncio.to_thread(_asked, benches, count)
    return found


def _edited(benches: Sequence[tuple[Bench, Found]], count: int) -> None:
    """Edits in turns; the first of each warms up."""
    for step in range(_EDITS + 1):
        for bench, found in benches:
            before = bench.cpu()[1]
            taken = bench.edit(step * 7919 % count, step + 1)
            time.sleep(_GAP)  # what Envoy does after it is part of the change
            if step:
                found.applied.append(bench.cpu()[1] - before)
                found.served.append(taken)


def _asked(benches: Sequence[tuple[Bench, Found]], count: int) -> None:
    for turn in range(_ROUNDS):
        for bench, found in benches[::-1] if turn % 2 else benches:
            shape = Shape(
                bench.folder.name, [], (worlds.host(count - 1), "/"), port=bench.port, pid=bench.proxy
            )
            found.asked.append(requests.load(shape, _SECONDS)[0])
