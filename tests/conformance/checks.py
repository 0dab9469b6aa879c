"""The table of checks: what each case checks beyond its requests, told from its description.

`cases.json` holds the requests of a test; conditions, mutations, and which Gateway is asked, stand in the
suite's code and, in words, in the description. A function of the modules `checks_*` is one test of the suite.
It returns what was not as expected, in words; no word, no fault. `usual` serves the cases that only send
requests to `same-namespace`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.conformance import status
from tests.conformance.cases import Case
from tests.conformance.run import Run

Check = Callable[[Run, Case], Awaitable[list[str]]]
_checks: dict[str, Check] = {}

ROUTE = "HTTPRoute"


def of(case: Case) -> Check:
    return _checks.get(case.name, usual)


def check(name: str) -> Callable[[Check], Check]:
    """Registers the function as the check of the case of that name."""

    def register(function: Check) -> Check:
        _checks[name] = function
        return function

    return register


async def usual(run: Run, case: Case) -> list[str]:
    """The routes of the manifest are accepted, and every request comes out as expected."""
    found: list[str] = []
    for (_, kind, namespace, name), _body in list(run.world.objects.items()):
        if kind == ROUTE:
            found += status.route(
                run.status(ROUTE, name, namespace),
                gateway="same-namespace",
                accepted=(True, "Accepted"),
                where=f"HTTPRoute {name}",
            )
    return found + await run.expect_all(case.flat(), run.target())
