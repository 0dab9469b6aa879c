"""The table of checks: what each case checks beyond its requests, told from its description.

`cases.json` holds the requests of a test; conditions, mutations, and which Gateway is asked, stand in the
suite's code and, in words, in the description. A function of the modules `checks_*` is one test of the suite.
It returns what was not as expected, in words; no word, no fault. `usual` serves the cases that only send
requests to `same-namespace`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tests.conformance import status
from tests.conformance.cases import Case
from tests.conformance.run import Run

Check = Callable[[Run, Case], Awaitable[list[str]]]
_checks: dict[str, Check] = {}

ROUTE = "HTTPRoute"
_ROUTES = ("HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute")
_WITH_STATUS = ("GatewayClass", "Gateway", "ListenerSet", "BackendTLSPolicy", *_ROUTES)
_DEFAULTS = {"group": "gateway.networking.k8s.io", "kind": "Gateway"}


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


def everywhere(run: Run) -> list[str]:
    """What holds after every case: conditions are of the latest generation, and a route's status repeats its
    parentRefs, of parents that are there, as the API server would have filled them in.
    """
    found: list[str] = []
    there = {key[1:] for key in run.world.objects}
    for (_, kind, namespace, name), body in list(run.world.objects.items()):
        if kind not in _WITH_STATUS:
            continue
        where, state = f"{kind} {namespace}/{name}", run.status(kind, name, namespace)
        wanted = [_DEFAULTS | ref for ref in body["spec"].get("parentRefs", ())]
        wanted = [
            ref for ref in wanted if (ref["kind"], ref.get("namespace", namespace), ref["name"]) in there
        ]
        if wanted or kind not in _ROUTES:
            found += status.fresh(state, body["metadata"]["generation"], where=where)
        said = [parent["parentRef"] for parent in state.get("parents", ())]
        if kind in _ROUTES and _order(said) != _order(wanted):
            found.append(f"{where}: parents {said}, expected {wanted}")
    return found


def _order(refs: list[dict[str, Any]]) -> list[list[tuple[str, Any]]]:
    return sorted((sorted(ref.items()) for ref in refs), key=str)
