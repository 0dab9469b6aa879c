"""`python -m benchmarks` (`make bench`): runs every measurement and writes `benchmarks/RESULTS.md`.

`--quick` leaves out the largest sizes; `--only` names some of the sections (`--help` lists them). A partial
run prints its tables and leaves the file alone. `--page` runs those of `page.SECTIONS` and writes
`docs/performance.md`.
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

RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="sizes up to 1,000 routes and 100 streams")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=(
            "own",
            "listeners",
            "latency",
            *page.SECTIONS,
            "sweep",
            "tls",
            "cold",
            "fanout",
            "fleet",
            "keys",
            "subjects",
            "claims",
            "startup",
            "ratelimit-transport",
            "ratelimit",
            "authz",
        ),
    )
    parser.add_argument("--page", action="store_true", help="write docs/performance.md, and nothing else")
    options = parser.parse_args()
    routes = (100, 1_000) if options.quick else (100, 1_000, 10_000)
    ends = (routes[0], routes[-1])
    starts = (1_000,) if options.quick else (1_000, 10_000)
    fleets = (100,) if options.quick else (1_000, 5_000)
    streams = (100,) if options.quick else (100, 1_000)
    credentials = (100, 1_000) if options.quick else (100, 10_000, 100_000)
    sections: dict[str, Callable[[Path], list[report.Table]]] = {
        "own": lambda folder: own.measure(folder, routes),
        "listeners": lambda folder: listeners.measure(folder, quick=options.quick),
        "latency": lambda folder: asyncio.run(latency.measure(folder, routes)),
        "probe": lambda folder: asyncio.run(propagation.probe(folder, 500 if options.quick else 3_000)),
        "churn": lambda folder: asyncio.run(churn.measure(folder, 500 if options.quick else 5_000)),
        "edits": lambda folder: asyncio.run(propagation.edits(folder, ends, 100)),
        "requests": lambda folder: asyncio.run(requests.measure(folder, ends[-1], ends[-1])),
        "failover": lambda folder: asyncio.run(failover.measure(folder)),
        "full": lambda folder: asyncio.run(full.measure(folder)),
        "sweep": lambda folder: asyncio.run(sweep.measure(folder, quick=options.quick)),
        "tls": lambda folder: asyncio.run(tls.measure(folder, routes[:1] if options.quick else routes[:2])),
        "cold": lambda folder: asyncio.run(cold.measure(folder, starts)),
        "memory": lambda folder: asyncio.run(memory.measure(folder, 500 if options.quick else 5_000)),
        "fanout": lambda folder: asyncio.run(fanout.measure(folder, streams)),
        "fleet": lambda folder: asyncio.run(fleet.measure(folder, fleets)),
        "keys": lambda folder: asyncio.run(clients.measure(folder, keys.kind(), credentials)),
        "subjects": lambda folder: asyncio.run(clients.measure(folder, subjects.kind(), credentials)),
        "claims": lambda folder: asyncio.run(claims.measure(folder)),
        "startup": startup.measure,
        "ratelimit-transport": transport.measure,
        "ratelimit": ratelimit.measure,
        "authz": authz.measure,
    }
    # As pip does when it installs; an editable checkout, under PYTHONDONTWRITEBYTECODE, never would.
    compileall.compile_dir(Path(dragoman.__file__).parent, quiet=1)
    conditions = report.conditions()
    tables = []
    for name in page.SECTIONS if options.page else options.only or sections:
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix=f"dragoman-{name}-") as folder:
            found = sections[name](Path(folder))
        tables += found
        print(f"{name}: {time.perf_counter() - begun:.0f} s", file=sys.stderr)
        print("\n".join(table.markdown() for table in found), flush=True)
    if options.page:
        page.PATH.write_text(page.text(conditions, tables))
        print(f"written to {page.PATH}", file=sys.stderr)
    elif options.only is None and not options.quick:
        RESULTS.write_text(_document(conditions, tables))
        print(f"written to {RESULTS}", file=sys.stderr)
    return 0 if all(goal.reached for table in tables for goal in table.goals) else 1


def _document(conditions: list[str], tables: list[report.Table]) -> str:
    head = [
        "# Benchmarks",
        "",
        "Written by `make bench`; `docs/benchmarks.md` says what is measured and how.",
        "",
    ]
    return "\n".join([*head, *(f"- {line}" for line in conditions), "", *(t.markdown() for t in tables)])


if __name__ == "__main__":
    sys.exit(main())
