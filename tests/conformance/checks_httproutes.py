"""Checks of HTTPRoute that need more than the requests of their case."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from typing import Any

from tests.conformance import checks, client, status
from tests.conformance.cases import Case, Expectation
from tests.conformance.run import Run
from tests.conformance.world import INFRA, WEB

GATEWAY, ROUTE = "Gateway", "HTTPRoute"


# --- HTTPRoute: references and attachment -------------------------------------------------------------------


@checks.check("HTTPRouteObservedGenerationBump")
async def _route_bump(run: Run, case: Case) -> list[str]:
    name = "observed-generation-bump"
    found = list(status.fresh(run.status(ROUTE, name), 1, where=name))
    body = copy.deepcopy(run.object(ROUTE, name))
    body["spec"]["rules"][0]["backendRefs"][0]["name"] = "infra-backend-v2"
    await run.apply([body])
    return found + list(status.fresh(run.status(ROUTE, name), 2, where=name))


@checks.check("HTTPRouteInvalidParentRefSectionNameNotMatchingPort")
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


@checks.check("HTTPRouteInvalidNonExistentBackendRef")
async def _no_backend(run: Run, case: Case) -> list[str]:
    return await _unresolved(run, case, "invalid-nonexistent-backend-ref", "BackendNotFound")


@checks.check("HTTPRouteInvalidReferenceGrant")
async def _no_grant(run: Run, case: Case) -> list[str]:
    return await _unresolved(run, case, "reference-grant", "RefNotPermitted")


@checks.check("HTTPRoutePartiallyInvalidViaInvalidReferenceGrant")
async def _partly_granted(run: Run, case: Case) -> list[str]:
    return await _unresolved(run, case, "invalid-reference-grant", "RefNotPermitted")


@checks.check("HTTPRouteReferenceGrant")
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


@checks.check("HTTPRouteMultipleGateways")
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


@checks.check("HTTPRouteHTTPSListener")
async def _https(run: Run, case: Case) -> list[str]:
    """Each host name is answered by the backend of its listener's route, under the name asked for in the
    handshake.
    """
    found = await run.expect(
        _over_tls("example.org", "infra-backend-v1"), run.tls_target(_HTTPS, "example.org")
    )
    target = run.tls_target(_HTTPS, "second-example.org")
    return found + await run.expect(_over_tls("second-example.org", "infra-backend-v2"), target)


@checks.check("HTTPRouteHTTPSListenerDetectMisdirectedRequests")
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


@checks.check("HTTPRouteWeight")
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


@checks.check("HTTPRouteRequestMirror")
async def _mirror(run: Run, case: Case) -> list[str]:
    found: list[str] = []
    for wanted in case.flat():
        before = _mirrored(run, wanted)
        found += await run.expect(wanted, run.target())
        await asyncio.sleep(0.1)  # mirrored requests are sent beside the answer
        if any(after <= count for count, after in zip(before, _mirrored(run, wanted), strict=True)):
            found.append(f"{wanted}: a mirror saw nothing")
    return found


@checks.check("HTTPRouteRequestPercentageMirror")
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


@checks.check("HTTPRouteRetry")
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
