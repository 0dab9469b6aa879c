"""Checks of GatewayClass and Gateway: generations, listeners, certificates, addresses, isolation."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

from tests.conformance import checks, status
from tests.conformance.cases import Case
from tests.conformance.run import Run

GATEWAY, ROUTE, CLASS = "Gateway", "HTTPRoute", "GatewayClass"


@checks.check("GatewayClassObservedGenerationBump")
async def _class_bump(run: Run, case: Case) -> list[str]:
    name = "gatewayclass-observed-generation-bump"
    found = list(
        status.condition(run.status(CLASS, name, ""), "Accepted", True, "Accepted", where=name, generation=1)
    )
    body = copy.deepcopy(run.object(CLASS, name, ""))
    body["spec"]["description"] = "new"
    await run.apply([body])
    found += status.condition(
        run.status(CLASS, name, ""), "Accepted", True, "Accepted", where=name, generation=2
    )
    return found


@checks.check("GatewayObservedGenerationBump")
async def _gateway_bump(run: Run, case: Case) -> list[str]:
    name = "gateway-observed-generation-bump"
    found = list(status.fresh(run.status(GATEWAY, name), 1, where=name))
    body = copy.deepcopy(run.object(GATEWAY, name))
    body["spec"]["listeners"].append(
        {
            "name": "alternate",
            "port": 8080,
            "protocol": "HTTP",
            "allowedRoutes": {"namespaces": {"from": "All"}},
        }
    )
    await run.apply([body])
    found += status.fresh(run.status(GATEWAY, name), 2, where=name)
    found += status.condition(
        run.status(GATEWAY, name), "Accepted", True, "Accepted", where=name, generation=2
    )
    return found


@checks.check("GatewayListenerUnsupportedProtocol")
async def _unsupported_protocol(run: Run, case: Case) -> list[str]:
    only, both = "gateway-only-unsupported-protocols", "gateway-supported-and-unsupported-protocols"
    found = list(
        status.condition(run.status(GATEWAY, only), "Accepted", False, "ListenersNotValid", where=only)
    )
    found += status.condition(
        status.listener(run.status(GATEWAY, only), "invalid"),
        "Accepted",
        False,
        "UnsupportedProtocol",
        where=only,
    )
    found += status.condition(run.status(GATEWAY, both), "Accepted", True, "ListenersNotValid", where=both)
    found += status.condition(
        status.listener(run.status(GATEWAY, both), "invalid"),
        "Accepted",
        False,
        "UnsupportedProtocol",
        where=both,
    )
    found += status.condition(
        status.listener(run.status(GATEWAY, both), "http"), "Accepted", True, "Accepted", where=both
    )
    return found


@checks.check("GatewayInvalidTLSConfiguration")
async def _invalid_tls(run: Run, case: Case) -> list[str]:
    found: list[str] = []
    for what in ("nonexistent-secret", "unsupported-group", "unsupported-kind", "malformed-secret"):
        name = f"gateway-certificate-{what}"
        item = status.listener(run.status(GATEWAY, name), "https")
        found += status.condition(item, "ResolvedRefs", False, "InvalidCertificateRef", where=name)
        found += status.condition(item, "Programmed", False, where=name)
        found += status.attachment(item, 0, where=name)
    return found


@checks.check("GatewaySecretInvalidReferenceGrant")
async def _secret_grant(run: Run, case: Case) -> list[str]:
    name = "gateway-secret-invalid-reference-grant"
    item = status.listener(run.status(GATEWAY, name), "https")
    found = list(status.condition(item, "ResolvedRefs", False, "RefNotPermitted", where=name))
    found += status.attachment(item, 0, where=name)
    return found


@checks.check("GatewayModifyListeners")
async def _modify_listeners(run: Run, case: Case) -> list[str]:
    more, less = "gateway-add-listener", "gateway-remove-listener"
    body = copy.deepcopy(run.object(GATEWAY, more))
    body["spec"]["listeners"].append(
        {
            "name": "http",
            "port": 80,
            "protocol": "HTTP",
            "hostname": "data.test.com",
            "allowedRoutes": {"namespaces": {"from": "All"}},
        }
    )
    await run.apply([body])
    found = list(status.listeners(run.status(GATEWAY, more), {"https": 1, "http": 1}, where=more))
    found += status.fresh(run.status(GATEWAY, more), 2, where=more)
    body = copy.deepcopy(run.object(GATEWAY, less))
    body["spec"]["listeners"] = [item for item in body["spec"]["listeners"] if item["name"] != "https"]
    await run.apply([body])
    found += status.listeners(run.status(GATEWAY, less), {"http": 1}, where=less)
    return found + list(status.fresh(run.status(GATEWAY, less), 2, where=less))


@checks.check("GatewayWithAttachedRoutes")
async def _attached_routes(run: Run, case: Case) -> list[str]:
    one, two = "gateway-with-one-attached-route", "gateway-with-two-attached-routes"
    none = "unresolved-gateway-with-one-attached-unresolved-route"
    found = list(status.listeners(run.status(GATEWAY, one), {"http": 1}, where=one))
    found += status.listeners(run.status(GATEWAY, two), {"http": 2}, where=two)
    found += status.route(
        run.status(ROUTE, "http-route-not-accepted"),
        gateway=two,
        accepted=(False, "NoMatchingListenerHostname"),
        where="http-route-not-accepted",
    )
    item = status.listener(run.status(GATEWAY, none), "tls")
    found += status.attachment(item, 1, where=none)
    found += status.condition(item, "ResolvedRefs", False, "InvalidCertificateRef", where=none)
    found += status.condition(item, "Programmed", False, "Invalid", where=none)
    found += status.route(
        run.status(ROUTE, "http-route-4"),
        gateway=none,
        resolved=(False, "BackendNotFound"),
        where="http-route-4",
    )
    return found


@checks.check("GatewayStaticAddresses")
async def _static_addresses(run: Run, case: Case) -> list[str]:
    """Usable is a loopback address, unusable one of TEST-NET-1, which no machine has."""
    name, usable, unusable = "gateway-static-addresses", "127.77.0.1", "192.0.2.1"
    body = copy.deepcopy(run.object(GATEWAY, name))
    given = body["spec"]["addresses"]
    given[1] = {"type": "IPAddress", "value": unusable}
    given[2] = {"type": "IPAddress", "value": usable}
    await run.apply([body])

    def gateway(kind: str, met: bool, reason: str) -> Callable[[], Iterable[str]]:
        return lambda: status.condition(run.status(GATEWAY, name), kind, met, reason, where=name)

    found = await run.eventually(gateway("Accepted", False, "UnsupportedAddress"))
    body = copy.deepcopy(body)
    del body["spec"]["addresses"][0]
    await run.apply([body])
    found += await run.eventually(gateway("Accepted", True, "Accepted"))
    found += await run.eventually(gateway("Programmed", False, "AddressNotUsable"))
    body = copy.deepcopy(body)
    del body["spec"]["addresses"][0]
    await run.apply([body])
    found += await run.eventually(gateway("Programmed", True, "Programmed"))
    values = [item["value"] for item in run.status(GATEWAY, name).get("addresses", ())]
    return found if values == [usable] else [*found, f"{name}: addresses {values}, expected [{usable}]"]


@checks.check("GatewayHTTPListenerIsolation")
async def _isolation(run: Run, case: Case) -> list[str]:
    found: list[str] = []
    for name in ("http-listener-isolation", "http-listener-isolation-with-hostname-intersection"):
        found += await run.expect_all(case.flat(), run.target(name))
    return found
