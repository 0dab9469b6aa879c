"""Checks of certificates in both directions: clients' at the Gateway, backends' and the Gateway's own."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
from collections.abc import Iterator

from tests.conformance import checks, client, status
from tests.conformance.cases import Case, Expectation
from tests.conformance.run import Run

GATEWAY, ROUTE, POLICY = "Gateway", "HTTPRoute", "BackendTLSPolicy"
YES, RESOLVED = (True, "Accepted"), (True, "ResolvedRefs")
_HTTPS = "same-namespace-with-https-listener"


# --- clients at the Gateway ---------------------------------------------------------------------------------


@checks.check("GatewayFrontendClientCertificateValidation")
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


@checks.check("GatewayInvalidFrontendClientCertificateValidation")
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
        found += status.condition(item, "Accepted", False, "NoValidCACertificate", where=f"{name} {listener}")
        found += status.condition(item, "Programmed", False, "Invalid", where=f"{name} {listener}")
    return found


async def _answers(target: client.Target, wanted: Expectation) -> bool:
    try:
        await client.send(target, wanted.request)
    except (OSError, asyncio.IncompleteReadError, TimeoutError):
        return False
    return True


# --- the Gateway at backends --------------------------------------------------------------------------------


def _policy(
    run: Run, name: str, accepted: tuple[bool, str] = YES, resolved: tuple[bool, str] | None = RESOLVED
) -> Iterator[str]:
    """The policy says so under each Gateway that leads to its target."""
    state = run.status(POLICY, name)
    yield from status.policy(state, accepted=accepted, resolved=resolved, where=name)
    yield from status.fresh(state, run.generation(POLICY, name), where=name)


def _refused(wanted: Expectation) -> Expectation:
    """The same request, of a backend to which no connection can be made."""
    return dataclasses.replace(wanted, statuses=(500, 502, 503))


@checks.check("BackendTLSPolicy")
async def _backend_tls(run: Run, case: Case) -> list[str]:
    """Names and authorities are checked; a policy that changes takes effect."""
    reencrypted, plain, wrong_host, wrong_authority = case.flat()
    wrong_host = dataclasses.replace(wrong_host, request={**wrong_host.request, "Host": "abc.example.com"})
    target = run.target()
    found = [
        *(
            what
            for name in ("normative-test", "host-mismatch", "cert-mismatch")
            for what in _policy(run, name)
        ),
        *await run.expect(reencrypted, run.tls_target(_HTTPS, "https-listener.org")),
        *await run.expect(plain, target),
        *await run.expect(_refused(wrong_host), target),
        *await run.expect(_refused(wrong_authority), target),
    ]
    path = {"Host": "abc.example.com", "Path": "/backendtlspolicy-reconcile-test"}
    works = Expectation(path, (200,), "tls-backend", seen={**path, "SNI": "abc.example.com"})
    found += await run.expect(works, target)
    before = run.object(POLICY, "reconcile-test")
    changed = copy.deepcopy(before)
    changed["spec"]["validation"]["caCertificateRefs"][0]["name"] = "mismatch-ca-certificate"
    await run.apply([changed])
    found += [*_policy(run, "reconcile-test"), *await run.expect(_refused(works), target)]
    await run.apply([before])
    return [*found, *_policy(run, "reconcile-test"), *await run.expect(works, target)]


@checks.check("BackendTLSPolicyConflictResolution")
async def _policy_conflicts(run: Run, case: Case) -> list[str]:
    """The older policy wins a target; one for a port and one for the rest of a Service are no conflict. The
    server name that a backend is asked for tells whose policy was used.
    """
    found: list[str] = []
    for which in ("without", "with"):
        found += _policy(run, f"conflicted-{which}-section-name-1")
        found += _policy(run, f"conflicted-{which}-section-name-2", (False, "Conflicted"), None)
        found += _policy(run, f"not-conflicted-{which}-section-name")
    return found + await run.expect_all(case.flat(), run.target())


@checks.check("BackendTLSPolicyInvalidKind")
async def _policy_kind(run: Run, case: Case) -> list[str]:
    found = _policy(run, "invalid-kind", (False, "NoValidCACertificate"), (False, "InvalidKind"))
    return [*found, *await run.expect_all(case.flat(), run.target())]


@checks.check("BackendTLSPolicyObservedGenerationBump")
async def _policy_bump(run: Run, case: Case) -> list[str]:
    name = "observed-generation-bump"
    found = list(_policy(run, name))
    body = copy.deepcopy(run.object(POLICY, name))
    body["spec"]["validation"]["hostname"] = "new.example.com"
    await run.apply([body])
    if run.generation(POLICY, name) != 2:
        found.append(f"{name}: the change is no new generation")
    return [*found, *_policy(run, name)]


@checks.check("GatewayTLSBackendClientCertificate")
async def _own_certificate(run: Run, case: Case) -> list[str]:
    """The backend takes nobody without a certificate, and has seen the Gateway's."""
    name = "gateway-tls-backend-client-certificate"
    state = run.status(GATEWAY, name)
    found = [
        *status.condition(state, "Accepted", *YES, where=name),
        *status.condition(state, "ResolvedRefs", *RESOLVED, where=name),
        *status.listeners(state, {"http": 1}, where=name),
        *_policy(run, f"{name}-test"),
    ]
    request = {"Host": "abc.example.com", "Path": "/"}
    wanted = Expectation(request, (200,), "tls-backend-with-client-cert-validation", seen=request)
    found += await run.expect(wanted, run.target(name))
    seen = (await client.send(run.target(name), request)).echo.get("tls", {}).get("peerCertificates")
    if seen != [run.world.pairs["tls-checks-client-certificate"].certificate]:
        found.append(f"{name}: the backend saw {seen or 'no certificate'}, expected the Gateway's")
    return found
