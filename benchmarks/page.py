"""`docs/performance.md`, written by the run that it shows. Called by `__main__` for `--page`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from benchmarks.report import Table

PATH: Final = Path(__file__).parent.parent / "docs" / "performance.md"
SECTIONS: Final = ("probe", "churn", "edits", "requests", "full", "memory", "failover")

_HEAD: Final = """\
# Performance

Written by `python -m benchmarks --page`: how long a change takes to be served, whether that grows with the
number of routes, what a request costs in the shapes that are chosen for large configurations, and what Envoy
needs for them.
[benchmarks.md](benchmarks.md) says what else is measured, and
[architecture.md](architecture.md#how-route-tables-are-cut) why routes are cut as they are. The milliseconds
are of this machine under this load; what holds elsewhere are the ratios within a table.

What to set: `gateways.scoped_hosts` (100) is the number of host names from which on a listener's routes
are cut into scopes. Below it Envoy applies the whole table for each change, at 15 to 35 us for each host
name of two rules; with scopes it applies 1/256 of it (1/1,024 from 4,096 hosts on), and each request costs
6 to 10 us more. 100 is where a change of a whole table comes to 3 ms (`python -m benchmarks --only sweep`),
and so where it would no longer be served within some 5; it is what 300 requests cost more. A listener of
fewer requests for each change gains by scopes at any size. With 0 tables are never cut: for few changes and
much traffic. A virtual host of 100 routes or more becomes a tree of path prefixes.
"""


def text(conditions: Iterable[str], tables: Iterable[Table]) -> str:
    """The page, with the conditions of the run and its tables."""
    lines = [_HEAD, *(f"- {line}" for line in conditions), "", *(each.markdown() for each in tables)]
    return "\n".join(lines)
