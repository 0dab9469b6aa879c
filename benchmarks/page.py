"""`docs/performance.md`: a summary of all targets, and each benchmark's tables as its last `--write` left
them. Called by `__main__`.

A run of some benchmarks replaces their parts alone, each between comments that bear its name. What is summed
up is read from the page itself.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks import report
from benchmarks.report import Table

PATH: Final = Path(__file__).parent.parent / "docs" / "performance.md"

_HEAD: Final = """\
# Performance

Written by the benchmarks themselves (`make bench`): how long a change takes to be served and whether that
grows with the number of routes, what a request costs in the shapes that are chosen for large configurations,
what Envoy and the control plane need, and what the services beside them do.
[benchmarks.md](benchmarks.md) says how each is measured and where the time goes that is missed, and
[architecture.md](architecture.md#how-route-tables-are-cut) why routes are cut as they are. The milliseconds
are of this machine under this load; what holds elsewhere are the ratios within a table.

What to set: `gateways.scoped_hosts` (100) is the number of host names from which on a listener's routes
are cut into scopes. Below it Envoy applies the whole table for each change, at 15 to 35 us for each host
name of two rules; with scopes it applies 1/256 of it (1/1,024 from 4,096 hosts on), and each request costs
6 to 10 us more. 100 is where a change of a whole table comes to 3 ms (`python -m benchmarks --only sweep`),
and so where it would no longer be served within some 5; it is what 300 requests cost more. A listener of
fewer requests for each change gains by scopes at any size. With 0 tables are never cut: for few changes and
much traffic. A virtual host of 100 routes or more becomes a tree of path prefixes.

## All targets
"""

_PART: Final = re.compile(r"<!-- (\S+) -->\n(.*?)\n<!-- end -->\n", re.DOTALL)
_TITLE: Final = "## "
_TARGETS: Final = report.line(report.TARGETS)


def part(tables: Sequence[Table], load: str) -> str:
    """What stands between the comments of a benchmark that has just run; `load` is of its start."""
    measured = f"Measured {time.strftime('%Y-%m-%d %H:%M')}; load average at the start: {load}."
    return "\n".join([measured, "", *(each.markdown() for each in tables)]).rstrip("\n")


def updated(old: str, parts: dict[str, str], order: Iterable[str]) -> str:
    """The page with these parts in place of the former ones. Parts of benchmarks that are no more go."""
    there = dict(_PART.findall(old)) | parts
    kept = {name: there[name] for name in order if name in there}
    lines = [_HEAD, report.line(("benchmark", *report.TARGETS)), "|---|---|---|---|---|"]
    lines += (row for name, text in kept.items() for row in _goals(name, text))
    lines += ["", *(f"- {line}" for line in report.machine()), ""]
    lines += (f"<!-- {name} -->\n{text}\n<!-- end -->\n" for name, text in kept.items())
    return "\n".join(lines)


def _goals(name: str, text: str) -> Iterator[str]:
    """The rows of targets of a part, each with a link to its table."""
    title, within = "", False
    for line in text.splitlines():
        if line.startswith(_TITLE):
            title = line.removeprefix(_TITLE)
        if line == _TARGETS:
            within = True
        elif not line.startswith("|"):
            within = False
        elif within and not line.startswith("|---"):
            yield f"| [`{name}`](#{_anchor(title)}) {line}"


def _anchor(title: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
