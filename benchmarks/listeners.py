"""Many listeners: what one more costs among them.

ListenerSets with one plain listener each, all on one port and with a route of its own each; and TLS listeners
with certificates by SNI, all on one port. What is timed is what `own` times: from documents in hand to bytes
handed to gRPC. Each size runs in a process of its own (`python -m benchmarks.listeners KIND COUNT`).
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.own import Client
from benchmarks.prepared import document
from benchmarks.report import Goal, Table, high, median, ms, ratio
from dragoman import config
from dragoman.document import Document
from dragoman.graph.pipeline import Pipeline
from dragoman.sources.base import Update
from tests.harness import certs, manifests
from tests.harness.manifests import Body

_ADDED = 40


def name(number: int) -> str:
    return f"s{number}.example.com"


def plain(number: int) -> list[Body]:
    """A set with one HTTP listener, and its route."""
    parent = manifests.listener_set(f"set-{number}", manifests.listener("own", 8080, hostname=name(number)))
    route = manifests.http_route(f"r{number}", manifests.rule("s"), hostnames=[name(number)])
    route["spec"]["parentRefs"] = [{"kind": "ListenerSet", "name": f"set-{number}"}]
    return [parent, route]


class _Certificates:
    """One key pair for all: making thousands would take longer than what is measured."""

    def __init__(self) -> None:
        self._pair = certs.Authority("benchmark").issue("*.example.com")

    def __call__(self, number: int) -> list[Body]:
        secret = manifests.tls_secret(f"c{number}", self._pair.certificate, self._pair.key)
        own = manifests.listener("own", 8443, protocol="HTTPS", hostname=name(number), secret=f"c{number}")
        return [secret, manifests.listener_set(f"set-{number}", own)]


class World:
    """A pipeline with `count` sets, and a client that has everything."""

    def __init__(self, count: int, make: Callable[[int], list[Body]]) -> None:
        gc.disable()
        self._make = make
        gateway = manifests.gateway(manifests.listener("http", 80))
        gateway["spec"]["allowedListeners"] = {"namespaces": {"from": "Same"}}
        bodies = [
            manifests.gateway_class(),
            gateway,
            manifests.service("s"),
            manifests.endpoint_slice("s", 9),
        ]
        self.pipeline = Pipeline(config.load(environment={}))
        begun = time.process_time()
        self.pipeline.load(self._documents(bodies, range(count)))
        self.view = self.pipeline.activate("*")
        self.loading = time.process_time() - begun
        self.client = Client(self.view)
        gc.freeze()
        gc.enable()

    def _documents(self, bodies: list[Body], numbers: Iterable[int]) -> list[Document]:
        return [document(body) for body in [*bodies, *(b for n in numbers for b in self._make(n))]]

    def add(self, number: int) -> float:
        """Seconds."""
        items = tuple(self._documents([], [number]))
        begun = time.perf_counter()
        self.pipeline.apply(Update(items))
        self.pipeline.commit()
        responses = self.client.drain()
        taken = time.perf_counter() - begun
        assert responses, "nothing to send after a change"
        self.client.acknowledge(responses)
        return taken


KINDS: dict[str, Callable[[], Callable[[int], list[Body]]]] = {"HTTP": lambda: plain, "HTTPS": _Certificates}
SIZES = {"HTTP": (100, 5_000), "HTTPS": (100, 1_000)}


def measure(folder: Path, *, quick: bool) -> list[Table]:
    table = Table(
        "One ListenerSet added among others: documents in hand to bytes handed to gRPC",
        ("listeners", "sets", "load all CPU s", "add one, median ms", "90 % ms", "to 100"),
        notes=[
            f"{_ADDED} added one by one; all on one port, one listener each",
            "HTTP: each with a route; HTTPS: each with a Secret, chosen by SNI",
            "a bind is one resource to Envoy: `tls` shows what it takes for each of its TLS host names",
        ],
    )
    for kind, sizes in SIZES.items():
        base = 0.0
        for count in sizes[:1] if quick else sizes:
            command = [sys.executable, "-m", "benchmarks.listeners", kind, str(count)]
            found: dict[str, Any] = json.loads(
                subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            )
            mid = median(found["times"])
            base = base or mid
            table.rows.append(
                (
                    kind,
                    f"{count:,}",
                    f"{found['loading']:.2f}",
                    ms(mid),
                    ms(high(found["times"])),
                    ratio(mid, base),
                )
            )
            if count == 5_000:
                table.goals.append(Goal("one ListenerSet added among 5,000", mid * 1000, 20, "ms"))
            if count == 1_000:
                table.goals.append(Goal("one TLS listener added among 1,000", mid * 1000, 20, "ms"))
    return [table]


def main(kind: str, count: int) -> None:
    world = World(count, KINDS[kind]())
    times = [world.add(count + step) for step in range(_ADDED)]
    print(json.dumps({"loading": world.loading, "times": times}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
