"""What each case checks beyond its requests, told from its description.

`cases.json` holds the requests of a test; conditions, mutations, and which Gateway is asked, stand in the
suite's code and, in words, in the description. A function here is one test of the suite. It returns what was
not as expected, in words; no word, no fault. `usual` serves the cases that only send requests to
`same-namespace`.
"""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from tests.conformance import client, status
from tests.conformance.cases import Case, Expectation
from tests.conformance.run import Run
from tests.conformance.world import INFRA, WEB

Check = Callable[[Run, Case], Awaitable[list[str]]]
_checks: dict[str, Check] = {}

GATEWAY, ROUTE, CLASS = "Gateway", "HTTPRoute", "GatewayClass"


def of(case: Case) -> Check:
    return _checks.get(case.name, usual)


def _check(name: str) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        _checks[name] = check
        return check

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


# --- GatewayClass, Gateway ----------------------------------------------------------------------------------


@_check("GatewayClassObservedGenerationBump")
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


@_check("GatewayObservedGenerationBump")
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


@_check("GatewayListenerUnsupportedProtocol")
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


@_check("GatewayInvalidTLSConfiguration")
async def _invalid_tls(run: Run, case: Case) -> list[str]:
    found: list[str] = []
    for what in ("nonexistent-secret", "unsupported-group", "unsupported-kind", "malformed-secret"):
        name = f"gateway-certificate-{what}"
        item = status.listener(run.status(GATEWAY, name), "https")
        found += status.condition(item, "ResolvedRefs", False, "InvalidCertificateRef", where=name)
        found += status.condition(item, "Programmed", False, where=name)
        found += status.attachment(item, 0, where=name)
    return found


@_check("GatewaySecretInvalidReferenceGrant")
async def _secret_grant(run: Run, case: Case) -> list[str]:
    name = "gateway-secret-invalid-reference-grant"
    item = status.listener(run.status(GATEWAY, name), "https")
    found = list(status.condition(item, "ResolvedRefs", False, "RefNotPermitted", where=name))
    found += status.attachment(item, 0, where=name)
    return found


@_check("GatewayModifyListeners")
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


@_check("GatewayWithAttachedRoutes")
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


@_check("GatewayStaticAddresses")
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


@_check("GatewayHTTPListenerIsolation")
async def _isolation(run: Run, case: Case) -> list[str]:
    found: list[str] = []
    for name in ("http-listener-isolation", "http-listener-isolation-with-hostname-intersection"):
        found += await run.expect_all(case.flat(), run.target(name))
    return found


@_check("GatewayFrontendClientCertificateValidation")
async def _client_certificates(run: Run, case: Case) -> list[str]:
    """With a certificate of the authority a request passes; without one the connection ends."""
    name = "client-validation-default"
    first, first_without, second, second_without = case.flat()
    pair = run.world.authority.issue("client.example.org")
    files = run.world.files(pair)
    found = await run.expect(first, run.tls_target(name, "example.org", 443, files))
    found += await run.expect(second, run.tls_target(name, "second-example.org", 8443, files))
    for wanted, sni, port in (
        (first_without, "example.org", 443),
        (second_without, "second-example.org", 8443),
    ):
        if await _answers(run.tls_target(name, sni, port), wanted):
            found.append(f"{sni}:{port}: a request without client certificate was answered")
    return found


@_check("GatewayInvalidFrontendClientCertificateValidation")
async def _bad_client_validation(run: Run, case: Case) -> list[str]:
    name = "gateway-with-invalid-client-cert-validation"
    wanted = {
        "https-unresolved": "InvalidCACertificateRef",
        "https-invalid-kind": "InvalidCACertificateKind",
        "https-grant-missing": "RefNotPermitted",
    }
    found: list[str] = []
    for listener, reason in wanted.items():
        item = status.listener(run.status(GATEWAY, name), listener)
        found += status.condition(item, "ResolvedRefs", False, reason, where=f"{name} {listener}")
        found += status.condition(item, "Programmed", False, "Invalid", where=f"{name} {listener}")
    return found


async def _answers(target: client.Target, wanted: Expectation) -> bool:
    try:
        await client.send(target, wanted.request)
    except (OSError, asyncio.IncompleteReadError, TimeoutError):
        return False
    return True


# --- HTTPRoute: references and attachment -------------------------------------------------------------------


@_check("HTTPRouteObservedGenerationBump")
async def _route_bump(run: Run, case: Case) -> list[str]:
    name = "observed-generation-bump"
    found = list(status.fresh(run.status(ROUTE, name), 1, where=name))
    body = copy.deepcopy(run.object(ROUTE, name))
    body["spec"]["rules"][0]["backendRefs"][0]["name"] = "infra-backend-v2"
    await run.apply([body])
    return found + list(status.fresh(run.status(ROUTE, name), 2, where=name))


@_check("HTTPRouteInvalidParentRefSectionNameNotMatchingPort")
async def _section_port(run: Run, case: Case) -> list[str]:
    gateway = "gateway-with-one-not-matching-port-and-section-name-route"
    name = "httproute-listener-section-name-not-matching-port"
    found = list(
        status.route(
            run.status(ROUTE, name), gateway=gateway, accepted=(False, "NoMatchingParent"), where=name
        )
    )
    found += status.listeners(run.status(GATEWAY, gateway), {"http": 0}, where=gateway)
    return found


async def _unresolved(run: Run, case: Case, name: str, reason: str) -> list[str]:
    found = list(
        status.route(
            run.status(ROUTE, name),
            gateway="same-namespace",
            accepted=(True, "Accepted"),
            resolved=(False, reason),
            where=name,
        )
    )
    return found + await run.expect_all(case.flat(), run.target())


@_check("HTTPRouteInvalidNonExistentBackendRef")
async def _no_backend(run: Run, case: Case) -> list[str]:
    return await _unresolved(run, case, "invalid-nonexistent-backend-ref", "BackendNotFound")


@_check("HTTPRouteInvalidReferenceGrant")
async def _no_grant(run: Run, case: Case) -> list[str]:
    return await _unresolved(run, case, "reference-grant", "RefNotPermitted")


@_check("HTTPRoutePartiallyInvalidViaInvalidReferenceGrant")
async def _partly_granted(run: Run, case: Case) -> list[str]:
    return await _unresolved(run, case, "invalid-reference-grant", "RefNotPermitted")


@_check("HTTPRouteReferenceGrant")
async def _grant(run: Run, case: Case) -> list[str]:
    """Works with the grant; without it the reference is refused and requests get 500."""
    granted, revoked = case.flat()
    name = "reference-grant"
    parent = "same-namespace"
    found = list(
        status.route(run.status(ROUTE, name), gateway=parent, resolved=(True, "ResolvedRefs"), where=name)
    )
    found += await run.expect(granted, run.target())
    run.delete([run.object("ReferenceGrant", name, WEB)])
    found += status.route(
        run.status(ROUTE, name), gateway=parent, resolved=(False, "RefNotPermitted"), where=name
    )
    return found + await run.expect(revoked, run.target())


@_check("HTTPRouteMultipleGateways")
async def _several_gateways(run: Run, case: Case) -> list[str]:
    expected = case.flat()
    found = await run.expect_all(expected[:2], run.target("same-namespace"))
    return found + await run.expect_all(expected[2:], run.target("all-namespaces"))


# --- HTTPRoute: HTTPS ---------------------------------------------------------------------------------------

_HTTPS = "same-namespace-with-https-listener"


def _over_tls(host: str, backend: str, *, path: str = "/", code: int = 200) -> Expectation:
    return Expectation(
        request := {"Host": host, "Path": path}, (code,), backend, INFRA if backend else "", seen=request
    )


@_check("HTTPRouteHTTPSListener")
async def _https(run: Run, case: Case) -> list[str]:
    """Each host name is answered by the backend of its listener's route, under the name asked for in the
    handshake.
    """
    found = await run.expect(
        _over_tls("example.org", "infra-backend-v1"), run.tls_target(_HTTPS, "example.org")
    )
    target = run.tls_target(_HTTPS, "second-example.org")
    return found + await run.expect(_over_tls("second-example.org", "infra-backend-v2"), target)


@_check("HTTPRouteHTTPSListenerDetectMisdirectedRequests")
async def _misdirected(run: Run, case: Case) -> list[str]:
    """421 exactly where the request's host belongs to another listener than the connection's server name."""
    owners = {
        "example.org": ("https", "infra-backend-v1"),
        "second-example.org": ("https-with-hostname", "infra-backend-v2"),
        "third-example.wildcard.org": ("https-with-wildcard-hostname", "infra-backend-v3"),
        "fourth-example.wildcard.org": ("https-with-hostname-matching-wildcard", "infra-backend-v1"),
        "unknown-example.org": ("https", ""),
    }
    found: list[str] = []
    for sni, (connected, _) in owners.items():
        for host, (owner, backend) in owners.items():
            code = 421 if owner != connected else 200 if backend else 404
            wanted = _over_tls(
                host, backend if code == 200 else "", path="/detect-misdirected-requests", code=code
            )
            found += [
                f"server name {sni}: {what}" for what in await run.expect(wanted, run.tls_target(_HTTPS, sni))
            ]
    return found


# --- HTTPRoute: what a single request cannot show -----------------------------------------------------------


async def _many(target: client.Target, request: Any, count: int = 500) -> list[client.Outcome]:
    """`count` requests, a few at a time."""
    gate = asyncio.Semaphore(10)

    async def one() -> client.Outcome:
        async with gate:
            return await client.send(target, request)

    return await asyncio.gather(*(one() for _ in range(count)))


@_check("HTTPRouteWeight")
async def _weight(run: Run, case: Case) -> list[str]:
    """500 requests, each backend's share within 5 points of its weight; as in the suite, up to three
    attempts.
    """
    (wanted,) = case.flat()
    found = await run.expect(wanted, run.target())
    if found:
        return found
    for _ in range(3):
        outcomes = await _many(run.target(), wanted.request)
        shares = Counter(str(item.echo.get("service", item.status)) for item in outcomes)
        found = [
            f"{name}: {shares[name] / 5:.1f} % of requests, expected {weight} %"
            for name, weight in {
                "infra-backend-v1": 70,
                "infra-backend-v2": 30,
                "infra-backend-v3": 0,
            }.items()
            if abs(shares[name] / 5 - weight) > (5 if weight else 0)
        ]
        if not found:
            break
    return found


def _mirrored(run: Run, expectation: Expectation) -> list[int]:
    """How often each mirror has seen the path so far."""
    path = expectation.request["Path"]
    counts = []
    for mirror in expectation.mirrors:
        ref = mirror["BackendRef"]
        counts.append(sum(pod.seen.count(path) for pod in run.world.pods[ref["Namespace"], ref["Name"]]))
    return counts


@_check("HTTPRouteRequestMirror")
async def _mirror(run: Run, case: Case) -> list[str]:
    found: list[str] = []
    for wanted in case.flat():
        before = _mirrored(run, wanted)
        found += await run.expect(wanted, run.target())
        await asyncio.sleep(0.1)  # mirrored requests are sent beside the answer
        if any(after <= count for count, after in zip(before, _mirrored(run, wanted), strict=True)):
            found.append(f"{wanted}: a mirror saw nothing")
    return found


@_check("HTTPRouteRequestPercentageMirror")
async def _mirror_share(run: Run, case: Case) -> list[str]:
    """500 requests; the mirror's share within 5 points of what is asked, up to three attempts."""
    found: list[str] = []
    for wanted in case.flat():
        found += await run.expect(wanted, run.target())
        wrong: list[str] = []
        for _ in range(3):
            before = _mirrored(run, wanted)
            await _many(run.target(), wanted.request)
            await asyncio.sleep(0.2)
            shares = [(after - b) / 5 for b, after in zip(before, _mirrored(run, wanted), strict=True)]
            wrong = [
                f"{wanted}: mirrored {share:.1f} %, expected {mirror['Percent']} %"
                for share, mirror in zip(shares, wanted.mirrors, strict=True)
                if abs(share - mirror["Percent"]) > 5
            ]
            if not wrong:
                break
        found += wrong
    return found


@_check("HTTPRouteRetry")
async def _retry(run: Run, case: Case) -> list[str]:
    """Recovers within the budget: 200. Does not, or the code is not listed: the original error."""
    found: list[str] = []
    tries = [
        ("code-500-attempts-3", 500, 1, 200),
        ("code-500-attempts-3", 500, 3, 200),
        ("code-500-attempts-3", 500, 4, 500),
        ("code-500-attempts-3", 503, 1, 503),
        ("code-all-attempts-2", 500, 2, 200),
        ("code-all-attempts-2", 502, 2, 200),
        ("code-all-attempts-2", 503, 2, 200),
        ("code-all-attempts-2", 504, 2, 200),
        ("code-all-attempts-2", 503, 3, 503),
    ]
    first = Expectation({"Path": "/retry/code-500-attempts-3?uuid=warm&succeedAfter=0"}, (200,))
    found += await run.expect(first, run.target())
    for number, (path, code, failures, status_code) in enumerate(tries):
        request = {"Path": f"/retry/{path}?uuid=replay-{number}&succeedAfter={failures}&responseCode={code}"}
        got = await client.send(run.target(), request)
        if got.status != status_code:
            found.append(f"{path}, {failures} times {code}: answered {got.status}, expected {status_code}")
    return found
