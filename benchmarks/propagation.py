"""How long a change takes to be served, and whether that grows: routes added one by one, and files edited.

`probe` is the route probe of gateway-api-bench without a cluster: each new file is a route with a host name
of its own, all with one backend; its host is asked every 5 ms, from 404 to the first 200. Any other answer
counts against us. `edits` renames an edited file into a folder of N and asks every half millisecond for the
new answer. Both run `dragoman run` on a folder and one Envoy with one worker and the bootstrap that the
command writes, as users do: with Envoy's own default its main thread stands still for 50 ms, each time that
it goes through the statistics of 10,000 clusters.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from benchmarks import bootstraps, processes, worlds
from benchmarks.children import Child
from benchmarks.probe import Probe
from benchmarks.report import Goal, Table, mean, median, ms
from tests.harness import envoy, net
from tests.harness.manifests import Body
from tests.harness.plane import Plane

_POLL: Final = 0.005
_BLOCKS: Final = 10
_MEAN_MS: Final = 8.0
_GROWTH: Final = 1.2
_MEDIAN_MS: Final = 5.0
_HIGHEST_MS: Final = 15.0
_RATIO: Final = 1.5
_GAP: Final = 0.03


class Bench:
    """A running pair of control plane and Envoy, and the connection that asks."""

    def __init__(
        self, plane: Plane, proxy: envoy.Envoy, port: int, probe: Probe, backends: tuple[int, int]
    ) -> None:
        self.folder = plane.folder
        self._plane, self.proxy = plane.pid, proxy.pid
        self.port = port
        self.probe = probe
        self.backends = backends

    def cpu(self) -> tuple[float, float]:
        """Seconds that the control plane and Envoy's main thread have used."""
        return processes.exact_cpu(self._plane), processes.main_cpu(self.proxy)

    def change(self, number: int, bodies: list[Body]) -> float:
        """Writes the file of a route; the time before its rename."""
        target = worlds.path(self.folder, number)
        worlds.replace(target, bodies)
        return place(target)

    def add(self, number: int) -> float:
        """Seconds until a new route is served."""
        begun = self.change(number, self.added(number))
        return self.served(number) - begun

    def added(self, number: int) -> list[Body]:
        """A new route, to the backend that is there."""
        return [worlds.route(number, service=worlds.SHARED)]

    def served(self, number: int) -> float:
        """The time at which a new route answers."""
        return self.probe.until(worlds.host(number), b"HTTP/1.1 200", pause=_POLL)

    def edit(self, number: int, revision: int) -> float:
        """Seconds until an edited one is."""
        wanted = f"x-revision: {revision}\r\n".encode()
        begun = self.change(number, worlds.bundle(number, self.backends[0], revision=revision))
        return self.probe.until(worlds.host(number), wanted) - begun


def place(target: Path) -> float:
    """Makes the draft of a file the file; the time before its rename."""
    begun = time.perf_counter()
    (target.parent.parent / f"{target.name}.draft").rename(target)
    return begun


@asynccontextmanager
async def running(
    folder: Path, count: int, *, apart: bool = False, scoped: int | None = None
) -> AsyncIterator[Bench]:
    """With `count` routes from the start, each with its own backend; and one backend for those to come.
    `apart`: each object has a file of its own. `scoped`: the setting `gateways.scoped_hosts`."""
    async with AsyncExitStack() as stack:
        answering = stack.enter_context(Child("benchmarks.answering"))
        backend, other = map(int, answering.hear().split())
        environment = {} if scoped is None else {"DRAGOMAN_GATEWAYS_SCOPED_HOSTS": str(scoped)}
        plane = Plane(folder, log_level="warning", environment=environment)
        listen = net.free_port()
        worlds.write(plane.folder, count, listen=listen, backend=backend, apart=apart)
        (plane.folder / "shared.yaml").write_text(worlds.text(worlds.shared(backend)))
        await plane.start()
        stack.push_async_callback(plane.stop)
        bootstrap = await asyncio.to_thread(bootstraps.written, plane.xds_port)
        # Envoy's own time for draining: a listener changes when its table is cut.
        process = envoy.Envoy(bootstrap, folder, drain=600)
        stack.push_async_callback(process.stop)
        await process.start()
        probe = Probe(listen)
        stack.callback(probe.close)
        wanted = b"HTTP/1.1 200" if count else b"HTTP/1.1 404"
        await asyncio.to_thread(probe.until, worlds.host(max(0, count - 1)), wanted, limit=120)
        yield Bench(plane, process, listen, probe, (backend, other))


async def probe(folder: Path, count: int) -> list[Table]:
    """Routes added one by one, up to `count`."""
    async with running(folder, 0) as bench:
        times = await asyncio.to_thread(lambda: [bench.add(number) for number in range(count)])
        unexpected = bench.probe.unexpected
    table = Table(
        "Route probe: added one by one, from 404 to the first 200",
        ("routes", "mean ms", "median ms", "max ms"),
        notes=["each asked for every 5 ms: half of that is what the asking itself takes on average"],
    )
    step = max(1, count // _BLOCKS)
    for start in range(0, count, step):
        block = times[start : start + step]
        table.rows.append((f"{start + 1:,} to {start + len(block):,}", *_cells(block)))
    table.rows.append(("all", *_cells(times)))
    edge = min(100, step)
    growth = mean(times[-edge:]) / mean(times[:edge])
    table.goals = [
        Goal("mean", mean(times) * 1000, _MEAN_MS, "ms"),
        Goal(f"last {edge} to first {edge}", growth, _GROWTH, "x"),
        Goal("answers that are neither 404 nor 200", unexpected, 0, ""),
    ]
    return [table]


async def edits(folder: Path, sizes: Iterable[int], changes: int) -> list[Table]:
    """A file edited among N."""
    table = Table(
        "A file edited among N, to the first answer that shows it",
        ("routes", "median ms", "90 % ms", "99 % ms", "max ms", "Dragoman CPU ms", "Envoy CPU ms"),
        notes=[
            f"{changes} edits each, one after the other; asked every half millisecond",
            "CPU for each edit: of the control plane, and of Envoy's main thread, which takes it in",
        ],
    )
    medians: dict[int, float] = {}
    for count in sizes:
        place = folder / f"edits-{count}"
        place.mkdir()
        async with running(place, count) as bench:
            before = bench.cpu()
            times = await asyncio.to_thread(_edited, bench, count, changes)
            used = [(now - then) / changes for then, now in zip(before, bench.cpu(), strict=True)]
        medians[count] = median(times) * 1000
        highest = _rank(times, 0.99) * 1000
        cells = (ms(median(times)), ms(_rank(times, 0.9)), ms(_rank(times, 0.99)), ms(max(times)))
        table.rows.append((f"{count:,}", *cells, *map(ms, used)))
        table.goals += [
            Goal(f"median among {count:,}", medians[count], _MEDIAN_MS, "ms"),
            Goal(f"99 % among {count:,}", highest, _HIGHEST_MS, "ms"),
        ]
    least, most = min(medians), max(medians)
    table.goals.append(Goal(f"median, {most:,} to {least:,}", medians[most] / medians[least], _RATIO, "x"))
    return [table]


def _edited(bench: Bench, count: int, changes: int) -> list[float]:
    times = []
    for step in range(1, changes + 1):
        times.append(bench.edit(step * 7919 % count, step))
        time.sleep(_GAP)
    return times


def _cells(times: Sequence[float]) -> tuple[str, str, str]:
    return ms(mean(times)), ms(median(times)), ms(max(times))


def _rank(times: Sequence[float], share: float) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
