"""`python -m benchmarks`: runs every measurement, or those that `--only` names, and prints its tables.

`--write` (`make bench`) also puts them into `docs/performance.md`, in place of their former ones. `--quick`
leaves out the largest sizes. It ends with 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import compileall
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import dragoman
from benchmarks import (
    authz,
    churn,
    claims,
    clients,
    cold,
    failover,
    fanout,
    fleet,
    full,
    hitless,
    keys,
    latency,
    listeners,
    memory,
    own,
    page,
    propagation,
    ratelimit,
    report,
    requests,
    startup,
    subjects,
    sweep,
    tls,
    transport,
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="sizes up to 1,000 routes and 100 streams")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="some: docs/benchmarks.md names them")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    options = parser.parse_args()
    measurements = _measurements(quick=options.quick)
    names = options.only or list(measurements)
    if unknown := set(names) - set(measurements):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(measurements)}")
    if options.quick and options.write:
        parser.error("--quick is no measurement to write down")
    # As pip does when it installs; an editable checkout, under PYTHONDONTWRITEBYTECODE, never would.
    compileall.compile_dir(Path(dragoman.__file__).parent, quiet=1)
    reached = True
    for name in names:
        begun, load = time.perf_counter(), report.load()
        with tempfile.TemporaryDirectory(prefix=f"dragoman-{name}-") as folder:
            tables = measurements[name](Path(folder))
        reached &= all(goal.reached for table in tables for goal in table.goals)
        print(f"{name}: {time.perf_counter() - begun:.0f} s", file=sys.stderr)
        print("\n".join(table.markdown() for table in tables), flush=True)
        if options.write:
            old = page.PATH.read_text() if page.PATH.exists() else ""
            page.PATH.write_text(page.updated(old, {name: page.part(tables, load)}, measurements))
    return 0 if reached else 1


def _measurements(*, quick: bool) -> dict[str, Callable[[Path], list[report.Table]]]:
    """By name, in the order of the page."""
    routes = (100, 1_000) if quick else (100, 1_000, 10_000)
    ends = (routes[0], routes[-1])
    starts = (1_000,) if quick else (1_000, 10_000)
    fleets = (100,) if quick else (1_000, 5_000)
    streams = (100,) if quick else (100, 1_000)
    credentials = (100, 1_000) if quick else (100, 10_000, 100_000)
    return {
        "probe": lambda folder: asyncio.run(propagation.probe(folder, 500 if quick else 3_000)),
        "churn": lambda folder: asyncio.run(churn.measure(folder, 500 if quick else 5_000)),
        "edits": lambda folder: asyncio.run(propagation.edits(folder, ends, 100)),
        "latency": lambda folder: asyncio.run(latency.measure(folder, routes)),
        "own": lambda folder: own.measure(folder, routes),
        "listeners": lambda folder: listeners.measure(folder, quick=quick),
        "tls": lambda folder: asyncio.run(tls.measure(folder, routes[:1] if quick else routes[:2])),
        "hitless": lambda folder: asyncio.run(hitless.measure(folder, routes[:2])),
        "failover": lambda folder: asyncio.run(failover.measure(folder)),
        "requests": lambda folder: asyncio.run(requests.measure(folder, ends[-1], ends[-1])),
        "full": lambda folder: asyncio.run(full.measure(folder)),
        "sweep": lambda folder: asyncio.run(sweep.measure(folder, quick=quick)),
        "claims": lambda folder: asyncio.run(claims.measure(folder)),
        "memory": lambda folder: asyncio.run(memory.measure(folder, 500 if quick else 5_000)),
        "cold": lambda folder: asyncio.run(cold.measure(folder, starts)),
        "startup": startup.measure,
        "fanout": lambda folder: asyncio.run(fanout.measure(folder, streams)),
        "fleet": lambda folder: asyncio.run(fleet.measure(folder, fleets)),
        "keys": lambda folder: asyncio.run(clients.measure(folder, keys.kind(), credentials)),
        "subjects": lambda folder: asyncio.run(clients.measure(folder, subjects.kind(), credentials)),
        "ratelimit-transport": transport.measure,
        "ratelimit": ratelimit.measure,
        "authz": authz.measure,
    }


if __name__ == "__main__":
    sys.exit(main())
