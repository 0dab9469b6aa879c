"""Checks of ListenerSet: who may add listeners to a Gateway, who wins a conflict, and where routes attach."""

from __future__ import annotations

from collections.abc import Iterator

from tests.conformance import checks, status
from tests.conformance.cases import Case
from tests.conformance.run import Run
from tests.conformance.world import INFRA

GATEWAY, SET, ROUTE = "Gateway", "ListenerSet", "HTTPRoute"


def _attached(run: Run, gateway: str, count: int) -> Iterator[str]:
    """The Gateway itself is fine, and counts so many sets."""
    state = run.status(GATEWAY, gateway)
    yield from status.condition(state, "Accepted", True, "Accepted", where=gateway)
    yield from status.condition(state, "Programmed", True, "Programmed", where=gateway)
    found = state.get("attachedListenerSets")
    if found != count:
        yield f"{gateway}: attachedListenerSets {found}, expected {count}"


def _taken(
    run: Run, name: str, routes: dict[str, int], namespace: str = INFRA, kind: str = ROUTE
) -> Iterator[str]:
    """The set is accepted with these listeners and so many routes each, all good."""
    state = run.status(SET, name, namespace)
    yield from status.condition(state, "Accepted", True, "Accepted", where=name)
    yield from status.condition(state, "Programmed", True, "Programmed", where=name)
    yield from status.listeners(state, routes, where=name, kind=kind)


def _turned_away(run: Run, name: str, namespace: str = INFRA) -> Iterator[str]:
    state = run.status(SET, name, namespace)
    yield from status.condition(state, "Accepted", False, "NotAllowed", where=name)
    yield from status.condition(state, "Programmed", False, "NotAllowed", where=name)


# --- which sets a Gateway takes -----------------------------------------------------------------------------


@checks.check("ListenerSetAllowedNamespaceNone")
async def _none(run: Run, case: Case) -> list[str]:
    gateway = "gateway-does-not-allow-listenerset"
    found = [*_attached(run, gateway, 0), *_turned_away(run, "listenerset-not-allowed")]
    return [*found, *status.listeners(run.status(GATEWAY, gateway), {"gateway-listener": 0}, where=gateway)]


@checks.check("ListenerSetAllowedNamespaceSame")
async def _same(run: Run, case: Case) -> list[str]:
    near, far = "listenerset-in-same-namespace", "listenerset-in-different-namespace"
    return [
        *_attached(run, "gateway-allows-listenerset-in-same-namespace", 1),
        *_taken(run, near, {f"{near}-listener": 0}),
        *_turned_away(run, far, "gateway-api-listenerset-not-allowed-ns"),
    ]


@checks.check("ListenerSetAllowedNamespaceSelector")
async def _selector(run: Run, case: Case) -> list[str]:
    chosen, other = "listenerset-in-selected-namespace", "listenerset-not-in-selected-namespace"
    return [
        *_attached(run, "gateway-allows-listenerset-in-selected-namespace", 1),
        *_taken(run, chosen, {f"{chosen}-listener": 0}, "gateway-api-listenerset-selector-allowed-ns"),
        *_turned_away(run, other, "gateway-api-listenerset-selector-not-allowed-ns"),
    ]


# --- conflicts ----------------------------------------------------------------------------------------------


def _listeners(run: Run, name: str, reason: str, good: list[str], bad: list[str]) -> Iterator[str]:
    """The good listeners of a set are served; the bad are in conflict, for that reason."""
    state = run.status(SET, name)
    yield from status.condition(
        state,
        "Accepted",
        bool(good),
        ("Accepted",) if not bad else ("ListenersNotValid",),
        where=name,
    )
    yield from status.condition(state, "Programmed", bool(good), where=name)
    yield from status.named(state, [*good, *bad], where=name)
    for listener in good:
        item, where = status.listener(state, listener), f"{name} listener {listener}"
        yield from status.condition(item, "Accepted", True, "Accepted", where=where)
        yield from status.condition(item, "Programmed", True, "Programmed", where=where)
        yield from status.condition(item, "Conflicted", False, "NoConflicts", where=where)
    for listener in bad:
        item, where = status.listener(state, listener), f"{name} listener {listener}"
        yield from status.condition(item, "Accepted", False, reason, where=where)
        yield from status.condition(item, "Programmed", False, where=where)
        yield from status.condition(item, "Conflicted", True, reason, where=where)


def _conflict(run: Run, word: str, reason: str) -> list[str]:
    """The Gateway's listeners come first, then those of the older set; a set lives while one of its
    listeners does.
    """
    gateway, prefix = f"gateway-with-listenerset-{word}-conflict", f"listenerset-with-{word}-conflict-with"
    with_gateway = f"{word}-conflict-with-gateway-listener"
    with_set = f"{word}-conflict-with-listener-set-listener"
    own = {"gateway-listener": 0, with_gateway: 0}
    return [
        *_attached(run, gateway, 2),
        *status.listeners(run.status(GATEWAY, gateway), own, where=gateway),
        *_listeners(
            run, f"{prefix}-gateway-1", reason, ["listener-set-1-listener", with_set], [with_gateway]
        ),
        *_listeners(run, f"{prefix}-gateway-2", reason, [], [with_gateway]),
        *_listeners(run, f"{prefix}-listener-set-1", reason, ["listener-set-2-listener"], [with_set]),
        *_listeners(run, f"{prefix}-listener-set-2", reason, [], [with_set]),
    ]


@checks.check("ListenerSetHostnameConflict")
async def _hostname_conflict(run: Run, case: Case) -> list[str]:
    return _conflict(run, "hostname", "HostnameConflict")


@checks.check("ListenerSetProtocolConflict")
async def _protocol_conflict(run: Run, case: Case) -> list[str]:
    return _conflict(run, "protocol", "ProtocolConflict")


# --- routes -------------------------------------------------------------------------------------------------


def _at(
    run: Run,
    route: str,
    parent: str,
    accepted: tuple[bool, str],
    *,
    namespace: str = INFRA,
    kind: str = SET,
) -> Iterator[str]:
    state = run.status(ROUTE, route, namespace)
    resolved = (True, "ResolvedRefs")
    yield from status.route(
        state, gateway=parent, kind=kind, accepted=accepted, resolved=resolved, where=route
    )


def _parents(run: Run, route: str, *wanted: tuple[str, str]) -> Iterator[str]:
    """The status names exactly these parents."""
    parents = [p["parentRef"] for p in run.status(ROUTE, route).get("parents", ())]
    found = sorted((ref.get("kind", GATEWAY), ref["name"]) for ref in parents)
    if found != sorted(wanted):
        yield f"{route}: parents {found}, expected {sorted(wanted)}"


YES, NOT_HERE, NO_PARENT = (True, "Accepted"), (False, "NotAllowedByListeners"), (False, "NoMatchingParent")


@checks.check("ListenerSetAllowedRoutesNamespaces")
async def _routes_namespaces(run: Run, case: Case) -> list[str]:
    gateway, near = (
        "gateway-with-listener-sets-test-allowed-routes",
        "listenerset-test-allowed-routes-namespaces",
    )
    far, elsewhere = "listenerset-test-allowed-routes-cross-ns", "gateway-api-ls-cross-ns"
    one = "listener-set-listener-allowed-routes"
    found = [
        *_attached(run, gateway, 2),
        *status.listeners(run.status(GATEWAY, gateway), {"gateway-listener": 0}, where=gateway),
        *_taken(run, near, {f"{one}-all": 3, f"{one}-same": 1, f"{one}-selector": 1}),
        *_taken(run, far, {f"{one}-cross-ns-same": 1}, elsewhere),
        *_at(run, "route-in-same-namespace", near, YES),
        *_at(run, "route-in-selected-namespace", near, YES, namespace="gateway-api-routes-allowed-ns"),
        *_at(
            run, "route-not-in-selected-namespace", near, YES, namespace="gateway-api-routes-not-allowed-ns"
        ),
        *_at(run, "route-in-listenerset-namespace", far, YES, namespace=elsewhere),
        *_at(run, "route-in-gateway-namespace", far, NOT_HERE),
    ]
    return found + await run.expect_all(case.flat(), run.target(gateway))


@checks.check("ListenerSetAllowedRoutesSupportedKinds")
async def _routes_kinds(run: Run, case: Case) -> list[str]:
    """A TLS listener that asks for HTTPRoute alone supports nothing."""
    name, listener = (
        "listenerset-test-allowed-routes-supported-kinds",
        "listener-set-listener-allowed-routes-tls-only",
    )
    item = status.listener(run.status(SET, name), listener)
    found = list(status.condition(item, "ResolvedRefs", False, "InvalidRouteKinds", where=name))
    if item.get("supportedKinds"):
        found.append(f"{name}: supportedKinds {item['supportedKinds']}, expected none")
    if item.get("attachedRoutes") != 0:
        found.append(f"{name}: attachedRoutes {item.get('attachedRoutes')}, expected 0")
    return found


@checks.check("ListenerSetDualParentRefIndependence")
async def _dual(run: Run, case: Case) -> list[str]:
    gateway, name = "gateway-dual-parentref", "ls-dual-parentref"
    both, one = "route-dual-parentref-both", "route-dual-parentref-one"
    pair = ((GATEWAY, gateway), (SET, name))
    found = [
        *_attached(run, gateway, 1),
        *status.listeners(run.status(GATEWAY, gateway), {"gw-dual-parentref-listener": 1}, where=gateway),
        *_taken(run, name, {"ls-dual-parentref-listener": 2}),
        *_at(run, both, gateway, YES, kind=GATEWAY),
        *_at(run, both, name, YES),
        *_at(run, one, gateway, NO_PARENT, kind=GATEWAY),
        *_at(run, one, name, YES),
        *_parents(run, both, *pair),
        *_parents(run, one, *pair),
    ]
    return found + await run.expect_all(case.flat(), run.target(gateway))


@checks.check("ListenerSetGatewayParentSectionNameNotFound")
async def _section(run: Run, case: Case) -> list[str]:
    gateway, name = "gateway-section-name", "listenerset-section-name"
    found = [
        *status.listeners(run.status(GATEWAY, gateway), {"gw-listener": 0}, where=gateway),
        *_taken(run, name, {"ls-only-listener": 1}),
        *_at(run, "route-via-listenerset", name, YES),
        *_at(run, "route-via-gateway", gateway, NO_PARENT, kind=GATEWAY),
    ]
    return found + await run.expect_all(case.flat(), run.target(gateway))


@checks.check("ListenerSetRouteStatusScopedToParentRef")
async def _scoped(run: Run, case: Case) -> list[str]:
    gateway, name = "gateway-parentref", "listenerset-parentref"
    above, below = "route-parentref-gwonly", "route-parentref-lsonly"
    return [
        *status.listeners(run.status(GATEWAY, gateway), {"gw-parentref-listener": 1}, where=gateway),
        *_taken(run, name, {"listenerset-parentref-listener": 1}),
        *_parents(run, above, (GATEWAY, gateway)),
        *_parents(run, below, (SET, name)),
        *_at(run, above, gateway, YES, kind=GATEWAY),
        *_at(run, below, name, YES),
    ]
