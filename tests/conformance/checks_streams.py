"""Checks of TLSRoute, TCPRoute and UDPRoute: conditions, and bytes through the Gateway."""

from __future__ import annotations

import asyncio
import copy
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from tests.conformance import checks, client, status
from tests.conformance.cases import Case
from tests.conformance.run import LIMIT, Run
from tests.conformance.world import INFRA, WEB

GATEWAY = "Gateway"
TLS, TCP, UDP = "TLSRoute", "TCPRoute", "UDPRoute"
YES, RESOLVED, MISSING = (True, "Accepted"), (True, "ResolvedRefs"), (False, "BackendNotFound")

Answer = Mapping[str, Any]
Ask = Callable[[client.Target], Awaitable[Answer]]


# --- clients ------------------------------------------------------------------------------------------------


async def _over_tcp(target: client.Target) -> Answer:
    """What the TCP echo says of itself, after its greeting; over TLS where the target says so."""
    async with asyncio.timeout(3):
        reader, writer = await asyncio.open_connection(
            target.address, target.port, ssl=target.tls, server_hostname=target.sni if target.tls else None
        )
        try:
            if not await reader.readline():
                raise ConnectionResetError("closed without a greeting")
            writer.write(b"TEST\n")
            answer: Answer = json.loads(await reader.readline())
            return answer
        finally:
            writer.close()


class _Once(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def _datagram(target: client.Target, data: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    transport, once = await loop.create_datagram_endpoint(_Once, remote_addr=(target.address, target.port))
    try:
        transport.sendto(data)
        return await asyncio.wait_for(once.answer, 1)
    finally:
        transport.close()


async def _over_udp(target: client.Target) -> Answer:
    answer: Answer = json.loads(await _datagram(target, b"TEST"))
    return answer


async def _as_name(target: client.Target) -> Answer:
    """Asks a name server for foo.bar.com; what comes back must be an answer to that."""
    question = bytes.fromhex("0007 0100 0001 0000 0000 0000") + b"\3foo\3bar\3com\0" + bytes((0, 1, 0, 1))
    data = await _datagram(target, question)
    return {"pod": "coredns"} if data[:2] == question[:2] and data[3] & 0x0F == 0 else {"pod": "(error)"}


async def _reaches(ask: Ask, target: client.Target, pod: str, namespace: str = "") -> list[str]:
    """Three answers in a row from a pod of that name."""
    where = f"{target.address}:{target.port} {target.sni}".rstrip()
    end = asyncio.get_running_loop().time() + LIMIT
    passes, said = 0, ""
    while passes < 3:
        try:
            answer = await ask(target)
            right = answer["pod"].startswith(pod) and answer.get("namespace", namespace) == namespace
            said = str(dict(answer))
        except (OSError, ValueError, TimeoutError) as failure:
            right, said = False, f"{type(failure).__name__}: {failure}"
        passes = passes + 1 if right else 0
        if not right:
            if asyncio.get_running_loop().time() > end:
                return [f"{where}: {said}, expected {namespace}/{pod}"]
            await asyncio.sleep(0.05)
    return []


async def _silent(ask: Ask, target: client.Target) -> list[str]:
    """No backend answers any more."""
    end = asyncio.get_running_loop().time() + LIMIT
    while True:
        try:
            answer = await ask(target)
        except (OSError, ValueError, TimeoutError):
            return []
        if asyncio.get_running_loop().time() > end:
            return [f"{target.address}:{target.port}: answered by {answer}, expected nobody"]
        await asyncio.sleep(0.05)


# --- conditions ---------------------------------------------------------------------------------------------


def _route(
    run: Run,
    kind: str,
    name: str,
    gateway: str,
    accepted: tuple[bool, str] = YES,
    resolved: tuple[bool, str] | None = RESOLVED,
) -> Iterator[str]:
    state = run.status(kind, name)
    yield from status.route(state, gateway=gateway, accepted=accepted, resolved=resolved, where=name)


def _listeners(run: Run, gateway: str, kind: str, routes: dict[str, int]) -> Iterator[str]:
    yield from status.listeners(run.status(GATEWAY, gateway), routes, where=gateway, kind=kind)


# --- TCPRoute -----------------------------------------------------------------------------------------------


@checks.check("TCPRouteMultipleRoutesAttachment")
async def _oldest(run: Run, case: Case) -> list[str]:
    """Both are accepted, the older one serves; when it goes, the younger takes over."""
    gateway, older, newer = "tcp-multi-route-attach-gateway", "tcproute-attach-older", "tcproute-attach-newer"
    second = copy.deepcopy(run.object(TCP, older))
    second["metadata"] = {"name": newer, "namespace": INFRA}
    second["spec"]["rules"][0]["backendRefs"][0]["name"] = "tcp-attach-backend-2"
    await run.apply([second])
    target = run.target(gateway, 9310)
    found = [
        *_route(run, TCP, older, gateway),
        *_route(run, TCP, newer, gateway),
        *_listeners(run, gateway, TCP, {"tcp": 1}),
        *await _reaches(_over_tcp, target, "tcp-attach-backend-1", INFRA),
    ]
    run.delete([run.object(TCP, older)])
    found += _listeners(run, gateway, TCP, {"tcp": 1})
    return found + await _reaches(_over_tcp, target, "tcp-attach-backend-2", INFRA)


@checks.check("TCPRouteParentRefPortAndSectionName")
async def _ports_and_sections(run: Run, case: Case) -> list[str]:
    gateway = "tcp-multi-listener-gateway"
    found = list(_listeners(run, gateway, TCP, {"one": 1, "two": 1, "three": 1}))
    for at, (listener, route) in enumerate(
        {
            "one": "tcp-route-by-port",
            "two": "tcp-route-by-section",
            "three": "tcp-route-by-section-and-port",
        }.items()
    ):
        found += _route(run, TCP, route, gateway)
        found += await _reaches(_over_tcp, run.target(gateway, 9300 + at), f"tcp-echo-{listener}", INFRA)
    return found


@checks.check("TCPRouteReferenceGrant")
async def _grant(run: Run, case: Case) -> list[str]:
    """Works with the grant; without it nobody answers."""
    gateway, name = "tcp-reference-grant-gateway", "tcp-reference-grant"
    target = run.target(gateway, 9320)
    found = [*_route(run, TCP, name, gateway), *_listeners(run, gateway, TCP, {"tcp": 1})]
    found += await _reaches(_over_tcp, target, "tcp-reference-grant-backend", WEB)
    run.delete([run.object("ReferenceGrant", name, WEB)])
    found += _route(run, TCP, name, gateway, resolved=(False, "RefNotPermitted"))
    return found + await _silent(_over_tcp, target)


@checks.check("TCPRouteWeightedRouting")
async def _weights(run: Run, case: Case) -> list[str]:
    """500 connections, each backend's share within 5 points of its weight; up to three attempts."""
    gateway = "tcp-weighted-gateway"
    target, gate = run.target(gateway, 9300), asyncio.Semaphore(10)
    found = [
        *_route(run, TCP, "tcp-weighted-route", gateway),
        *_listeners(run, gateway, TCP, {"tcp": 1}),
        *await _reaches(_over_tcp, target, "tcp-backend-v", INFRA),
    ]

    async def one() -> str:
        async with gate:
            return str((await _over_tcp(target))["service"])

    wrong: list[str] = []
    for _ in range(3):
        shares = Counter(await asyncio.gather(*(one() for _ in range(500))))
        wrong = [
            f"{name}: {shares[name] / 5:.1f} % of connections, expected {weight} %"
            for name, weight in {"tcp-backend-v1": 70, "tcp-backend-v2": 30, "tcp-backend-v3": 0}.items()
            if abs(shares[name] / 5 - weight) > (5 if weight else 0)
        ]
        if not wrong:
            break
    return found + wrong


# --- UDPRoute -----------------------------------------------------------------------------------------------


@checks.check("UDPRoute")
async def _udp(run: Run, case: Case) -> list[str]:
    gateway = "udp-gateway"
    return [
        *_route(run, UDP, "udp-coredns", gateway),
        *_listeners(run, gateway, UDP, {"coredns": 1}),
        *await _reaches(_as_name, run.target(gateway, 5300), "coredns"),
    ]


@checks.check("UDPRouteInvalidBackendRefNonexistent")
async def _udp_missing(run: Run, case: Case) -> list[str]:
    gateway, name = "udp-gateway-invalid-backend", "udp-route-invalid-backend-ref-nonexistent"
    return [
        *_route(run, UDP, name, gateway, resolved=MISSING),
        *_listeners(run, gateway, UDP, {"udp": 1}),
        *await _silent(_over_udp, run.target(gateway, 5300)),
    ]


@checks.check("UDPRouteNotAllowedByListeners")
async def _udp_at_tls(run: Run, case: Case) -> list[str]:
    gateway, name = "udproute-tls-only-gateway", "udproute-not-allowed-by-listeners"
    return [
        *_route(run, UDP, name, gateway, (False, "NotAllowedByListeners"), None),
        *_listeners(run, gateway, TLS, {"tls": 0}),
    ]


@checks.check("UDPRouteParentRefAttachAllListeners")
async def _udp_everywhere(run: Run, case: Case) -> list[str]:
    gateway = "udp-attach-all-listeners-gateway"
    found = [
        *_route(run, UDP, "udp-route-attach-all", gateway),
        *_listeners(run, gateway, UDP, {"udp-1": 1, "udp-2": 1, "udp-3": 1}),
    ]
    for port in (5310, 5311, 5312):
        found += await _reaches(_over_udp, run.target(gateway, port), "udp-echo-attach-all", INFRA)
    return found


# --- TLSRoute -----------------------------------------------------------------------------------------------


async def _invalid_backend(run: Run, word: str, reason: str) -> list[str]:
    gateway = f"gateway-tlsroute-invalid-backend-ref-{word}"
    return [
        *_route(run, TLS, f"invalid-backend-ref-{word}", gateway, resolved=(False, reason)),
        *_listeners(run, gateway, TLS, {"tls": 1}),
        *await _silent(_over_tcp, run.tls_target(gateway, "example.com")),
    ]


@checks.check("TLSRouteInvalidBackendRefNonexistent")
async def _tls_missing(run: Run, case: Case) -> list[str]:
    return await _invalid_backend(run, "nonexistent", "BackendNotFound")


@checks.check("TLSRouteInvalidBackendRefUnknownKind")
async def _tls_kind(run: Run, case: Case) -> list[str]:
    return await _invalid_backend(run, "unknown-kind", "InvalidKind")


@checks.check("TLSRouteListenerTerminateSupportedKinds")
async def _tls_terminate_kinds(run: Run, case: Case) -> list[str]:
    return list(_listeners(run, "gateway-tlsroute-terminate-supported", TLS, {"tls-terminate": 0}))


@checks.check("TLSRouteTerminateSimpleSameNamespace")
async def _tls_terminate(run: Run, case: Case) -> list[str]:
    gateway = "gateway-tlsroute-terminate"
    return [
        *_route(run, TLS, "tlsroute-terminated-test", gateway),
        *_listeners(run, gateway, TLS, {"tlsterminate": 1}),
        *await _reaches(_over_tcp, run.tls_target(gateway, "tls.example.com", 8443), "tcp-backend", INFRA),
    ]


@checks.check("TLSRouteMixedTerminationSameNamespace")
async def _tls_mixed(run: Run, case: Case) -> list[str]:
    """The certificates tell who ends TLS: each name is in one certificate only, and the client checks it."""
    gateway, port = "gateway-tlsroute-mixed-termination", 8883
    return [
        *_route(run, TLS, "gateway-conformance-mixed-passthroughroute", gateway),
        *_route(run, TLS, "gateway-conformance-mixed-terminateroute", gateway),
        *_listeners(run, gateway, TLS, {"tls-terminate": 1, "tls-passthrough": 1}),
        *await _reaches(_over_tcp, run.tls_target(gateway, "tls.example.com", port), "tcp-backend", INFRA),
        *await _reaches(_over_tcp, run.tls_target(gateway, "abc.example.com", port), "tcp-backend", INFRA),
    ]
