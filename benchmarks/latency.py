"""From a change to the first request that is served by it: Dragoman from files, and things that do less.

The same Envoy (same bootstrap, one worker) is fed by Dragoman, by the bare server with the very bytes that
Dragoman would send, and by its own file subscriptions. Time runs from the event (the rename of a file, the
command to push) to the first changed answer; the poller pauses half a millisecond between requests.
"""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from benchmarks import prepared, worlds
from benchmarks.children import Child
from benchmarks.prepared import Prepared
from benchmarks.probe import Probe
from benchmarks.report import Table, high, median, ms, ratio
from dragoman import resource
from tests.harness import envoy, net
from tests.harness.plane import Plane

Times = list[float]

_GAP: Final = 0.03
"""Seconds between changes: each is measured in a quiet system."""


class Bench:
    """One size: what all variants share."""

    def __init__(self, folder: Path, count: int, changes: int, backends: tuple[int, int]) -> None:
        self.folder = folder
        self.count = count
        self.changes = changes
        self.backends = backends
        self.listen = net.free_port()

    def prepare(self, *, whole: bool = False) -> Prepared:
        return Prepared(self.count, listen=self.listen, backend=self.backends[0], whole=whole)

    def tables(self, changing: Prepared) -> list[resource.Resource]:
        """The table, or the scope of it, after each step's change: changes pile up, as in the folder."""
        found = []
        for step, number in enumerate(self.numbers(), 1):
            found += changing.changed(worlds.route(number, revision=step))
        assert [item.type_url for item in found] == [changing.routed] * self.changes
        return found

    def numbers(self) -> list[int]:
        """Which route changes at each step: spread over all of them."""
        return [step * 7919 % self.count for step in range(1, self.changes + 1)]

    async def envoy(
        self, stack: AsyncExitStack, name: str, dynamic: envoy.Json, xds_port: int | None
    ) -> Probe:
        """An Envoy that serves the last route."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        clusters = [] if xds_port is None else [envoy.grpc_cluster(xds_port)]
        process = envoy.Envoy(envoy.bare(net.free_port(), dynamic, clusters), folder)
        stack.push_async_callback(process.stop)
        await process.start()
        probe = Probe(self.listen)
        stack.callback(probe.close)
        await asyncio.to_thread(probe.until, worlds.host(self.count - 1), b"x-pod: one", limit=120)
        return probe

    def follow(
        self, probe: Probe, change: Callable[[int, int], None], wanted: Callable[[int], bytes]
    ) -> Times:
        """Makes every change in turn and waits for each to be served. `change` gets step and route."""
        times = []
        for step, number in enumerate(self.numbers(), 1):
            host = worlds.host(number)
            if wanted(step) in probe.ask(host):
                raise RuntimeError(f"{host} answers as after its change before it")
            begun = time.perf_counter()
            change(step, number)
            times.append(probe.until(host, wanted(step)) - begun)
            time.sleep(_GAP)
        return times


def revision(step: int) -> bytes:
    return f"x-revision: {step}\r\n".encode()


def pod(step: int) -> bytes:
    return b"x-pod: two"


async def through_dragoman(bench: Bench) -> dict[str, Times]:
    """Files renamed into the folder that `dragoman run` watches."""
    async with AsyncExitStack() as stack:
        plane = Plane(bench.folder / "dragoman", log_level="warning")
        worlds.write(plane.folder, bench.count, listen=bench.listen, backend=bench.backends[0])
        await plane.start()
        stack.push_async_callback(plane.stop)
        probe = await bench.envoy(stack, "envoy-dragoman", envoy.ads(), plane.xds_port)
        first, second = bench.backends
        drafts = _drafts(bench, plane.folder, lambda step, n: worlds.bundle(n, first, revision=step))
        routes = await asyncio.to_thread(bench.follow, probe, drafts, revision)
        drafts = _drafts(bench, plane.folder, lambda step, n: worlds.bundle(n, second, revision=step))
        ends = await asyncio.to_thread(bench.follow, probe, drafts, pod)
    return {"route": routes, "endpoint": ends}


def _drafts(
    bench: Bench, folder: Path, bodies: Callable[[int, int], list[Any]]
) -> Callable[[int, int], None]:
    """Writes all drafts now; the change itself is a rename."""
    for step, number in enumerate(bench.numbers(), 1):
        (folder.parent / f"draft-{step}").write_text(worlds.text(bodies(step, number)))

    def change(step: int, number: int) -> None:
        (folder.parent / f"draft-{step}").rename(worlds.path(folder, number))

    return change


async def through_bare(bench: Bench) -> dict[str, Times]:
    """A gRPC server that pushes the same bytes, made in advance."""
    prepared = bench.prepare()
    state = prepared.state()
    state.variants = [
        (item.type_url, item.name, f"route-{n}", item.payload)
        for n, item in enumerate(bench.tables(bench.prepare()))
    ]
    for number in bench.numbers():
        changed = prepared.changed(worlds.endpoints(number, bench.backends[1]))
        (item,) = (found for found in changed if found.type_url == resource.ENDPOINT)
        state.variants.append((item.type_url, item.name, item.version, item.payload))
    stored = bench.folder / "state.pickle"
    stored.write_bytes(pickle.dumps(state))
    port = net.free_port()
    async with AsyncExitStack() as stack:
        server = stack.enter_context(Child("benchmarks.bare", port, stored))
        server.expect("ready")
        probe = await bench.envoy(stack, "envoy-bare", envoy.ads(), port)
        routes = await asyncio.to_thread(
            bench.follow, probe, lambda step, _: server.say(f"push {step - 1}"), revision
        )
        ends = await asyncio.to_thread(
            bench.follow, probe, lambda step, _: server.say(f"push {bench.changes + step - 1}"), pod
        )
    return {"route": routes, "endpoint": ends}


async def through_files(bench: Bench, form: str) -> dict[str, Times]:
    """Envoy watches the resources itself, as binary or JSON protobuf."""
    folder = bench.folder / f"files-{form}"
    folder.mkdir()
    routes_file, listeners_file, clusters_file = (folder / f"{name}.{form}" for name in ("rds", "lds", "cds"))
    whole = bench.prepare(whole=True)
    first = whole.view.resources(resource.ROUTE)
    _store(routes_file, resource.ROUTE, [prepared.table(item.payload) for item in first.values()], form)
    _store(listeners_file, resource.LISTENER, prepared.listeners_for_files(whole, routes_file), form)
    _store(clusters_file, resource.CLUSTER, prepared.clusters_for_files(whole), form)
    for step, item in enumerate(bench.tables(bench.prepare(whole=True)), 1):
        _store(folder / f"draft-{step}.{form}", resource.ROUTE, [prepared.table(item.payload)], form)
    async with AsyncExitStack() as stack:
        dynamic = envoy.from_files(listeners_file, clusters_file)
        probe = await bench.envoy(stack, f"envoy-{form}", dynamic, None)

        def change(step: int, number: int) -> None:
            (folder / f"draft-{step}.{form}").rename(routes_file)

        routes = await asyncio.to_thread(bench.follow, probe, change, revision)
    return {"route": routes}


def _store(path: Path, type_url: str, items: Iterable[Any], form: str) -> None:
    made = prepared.response(type_url, items)
    path.write_bytes(made.SerializeToString() if form == "pb" else prepared.as_json(made))


async def measure(folder: Path, sizes: Iterable[int], changes: int = 15) -> list[Table]:
    """One row per size and way."""
    routes = Table(
        "Change to served: one route among N",
        ("routes", "way", "median ms", "90 % ms", "to bare", "to .pb file"),
        notes=["one HTTPRoute changed a header; from rename or push command to the first changed answer"],
    )
    ends = Table(
        "Change to served: one endpoint among N Services",
        ("Services", "way", "median ms", "90 % ms", "to bare"),
        notes=["one EndpointSlice moved to another port; the files hold static endpoints and are left out"],
    )
    with Child("benchmarks.answering") as answering:
        one, two = map(int, answering.hear().split())
        for count in sizes:
            place = folder / f"latency-{count}"
            place.mkdir()
            bench = Bench(place, count, changes, (one, two))
            found = {
                "Dragoman, files": await through_dragoman(bench),
                "bare gRPC, bytes ready": await through_bare(bench),
                "Envoy, .pb file": await through_files(bench, "pb"),
                "Envoy, .json file": await through_files(bench, "json"),
            }
            floor = found["bare gRPC, bytes ready"]
            files = median(found["Envoy, .pb file"]["route"])
            for way, times in found.items():
                mid = median(times["route"])
                cells = (
                    ms(mid),
                    ms(high(times["route"])),
                    ratio(mid, median(floor["route"])),
                    ratio(mid, files),
                )
                routes.rows.append((f"{count:,}", way, *cells))
                if "endpoint" in times:
                    mid = median(times["endpoint"])
                    to_bare = ratio(mid, median(floor["endpoint"]))
                    ends.rows.append((f"{count:,}", way, ms(mid), ms(high(times["endpoint"])), to_bare))
    return [routes, ends]
