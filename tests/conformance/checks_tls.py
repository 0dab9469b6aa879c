"""Checks of certificates in both directions: clients' at the Gateway, backends' and the Gateway's own."""

from __future__ import annotations

import asyncio

from tests.conformance import checks, client, status
from tests.conformance.cases import Case, Expectation
from tests.conformance.run import Run

GATEWAY = "Gateway"


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
        found += status.condition(item, "Programmed", False, "Invalid", where=f"{name} {listener}")
    return found


async def _answers(target: client.Target, wanted: Expectation) -> bool:
    try:
        await client.send(target, wanted.request)
    except (OSError, asyncio.IncompleteReadError, TimeoutError):
        return False
    return True
