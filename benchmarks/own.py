"""Dragoman's own part of a change: from the document in hand to the bytes handed to gRPC.

One process, no files, no sockets: pipeline, view and one delta session with a client that subscribes to
everything and ACKs. What is timed is `apply`, `commit` and `next_response`: decoding and validating the
document, translating, assembling, encoding, deciding what to send, and the response's bytes. Each size runs
in a process of its own (`python -m benchmarks.own COUNT`), so that one's memory is not another's.
"""

from __future__ import annotations

import cProfile
import gc
import json
import pstats
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from benchmarks import worlds
from benchmarks.prepared import Prepared, document, subscriptions
from benchmarks.report import Goal, Table, high, median, ms, ratio
from dragoman.xds import session, wire
from dragoman.xds.snapshot import View
from dragoman.xds.types import Transitions
from tests.harness.manifests import Body

_CHANGES = 60
_ROUNDS = 3


class _Deaf:
    """A recorder that keeps no books: they belong to the stream, after the bytes."""

    def subscribed(self, type_url: str, names: int, wildcard: bool) -> None: ...
    def sent(self, type_url: str, nonce: str, version: str, resources: int, size: int) -> None: ...
    def acked(self, type_url: str, nonce: str, version: str, seconds: float | None) -> None: ...
    def nacked(self, type_url: str, nonce: str, version: str, refused: Mapping[str, str]) -> None: ...
    def healed(self, type_url: str, refused: Mapping[str, str]) -> None: ...
    def stale(self, type_url: str) -> None: ...
    def silent(self, names: tuple[str, ...]) -> None: ...


class Client:
    """A delta client that has everything. `drain` gives the responses that are due and ACKs them."""

    def __init__(self, view: View) -> None:
        self._session = session.Session(view, wire.Form.DELTA, wire.Encoder(), _Deaf())
        view.follow(self._change)
        for type_url, names in subscriptions(view).items():
            self._session.request(wire.Request(type_url, names=names), 0.0)
            self.acknowledge(self.drain())

    def _change(self, changes: Transitions) -> None:
        self._session.change(changes, time.monotonic())

    def drain(self) -> list[session.Response]:
        found = []
        while (made := self._session.next_response(time.monotonic())) is not None:
            found.append(made)
        return found

    def acknowledge(self, responses: list[session.Response]) -> None:
        for made in responses:
            self._session.request(wire.Request(made.type_url, nonce=made.nonce), time.monotonic())
            self.acknowledge(self.drain())


class World:
    def __init__(self, count: int) -> None:
        gc.disable()
        self.count = count
        self.prepared = Prepared(count, listen=8080, backend=9000)
        self.client = Client(self.prepared.view)
        gc.collect()
        gc.freeze()
        gc.enable()

    def change(self, body: Body) -> tuple[float, int]:
        """Seconds and bytes."""
        item = document(body)
        begun = time.perf_counter()
        self.prepared.apply(item)
        responses = self.client.drain()
        taken = time.perf_counter() - begun
        assert responses, "nothing to send after a change"
        self.client.acknowledge(responses)
        return taken, sum(len(made.data) for made in responses)

    def follow(self, body: Callable[[int, int], Body], first: int = 1) -> tuple[list[float], int]:
        times, size = [], 0
        for step in range(first, first + _CHANGES):
            taken, size = self.change(body(step, step * 7919 % self.count))
            times.append(taken)
        return times, size


def route(step: int, number: int) -> Body:
    return worlds.route(number, revision=step)


def endpoint(step: int, number: int) -> Body:
    return worlds.endpoints(number, 9000 + step)


KINDS = {"route": route, "endpoint": endpoint}


def profile(world: World, body: Callable[[int, int], Body], lines: int = 25) -> str:
    """Where the time goes, as text."""
    profiler = cProfile.Profile()
    for step in range(1, _CHANGES + 1):
        item = document(body(1000 + step, step * 7919 % world.count))
        profiler.enable()
        world.prepared.apply(item)
        responses = world.client.drain()
        profiler.disable()
        world.client.acknowledge(responses)
    out = StringIO()
    pstats.Stats(profiler, stream=out).sort_stats("tottime").print_stats(lines)
    return out.getvalue()


def measure(folder: Path, sizes: Iterable[int]) -> list[Table]:
    table = Table(
        "Dragoman's own part: document in hand to bytes handed to gRPC",
        ("change", "among", "median ms", "90 % ms", "to 100", "response KB"),
        notes=[
            f"{_CHANGES} changes each; one delta stream; decoding, translation, assembly, encoding, response",
            f"the sizes take turns; the best of {_ROUNDS} rounds, since the machine changes its speed",
        ],
    )
    sizes = tuple(sizes)
    found: dict[int, list[dict[str, Any]]] = {count: [] for count in sizes}
    for _ in range(_ROUNDS):
        for count in sizes:
            found[count].append(_child(count))
    for kind in KINDS:
        best = {count: min((one[kind] for one in of), key=_median) for count, of in found.items()}
        base = _median(best[min(best)])
        for count, outcome in best.items():
            times = outcome["times"]
            mid = _median(outcome)
            size = outcome["bytes"] / 1024
            table.rows.append((kind, f"{count:,}", ms(mid), ms(high(times)), ratio(mid, base), f"{size:.1f}"))
            if count == 10_000:
                table.goals.append(Goal(f"{kind} changed among 10,000", mid * 1000, 5, "ms"))
                table.goals.append(Goal(f"{kind}: 10,000 to 100", mid / base, 1.5, "x"))
    return [table]


def _median(outcome: dict[str, Any]) -> float:
    return median(outcome["times"])


def _child(count: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.own", str(count)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def main(count: int, *, profiled: bool) -> None:
    world = World(count)
    outcome = {}
    for kind, body in KINDS.items():
        world.follow(body)  # warm
        times, size = world.follow(body, first=_CHANGES + 1)
        outcome[kind] = {"times": times, "bytes": size}
        if profiled:
            print(f"--- {kind} among {count}\n{profile(world, body)}", file=sys.stderr)
    print(json.dumps(outcome))


if __name__ == "__main__":
    main(int(sys.argv[1]), profiled="--profile" in sys.argv)
