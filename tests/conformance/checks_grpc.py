"""Checks of GRPCRoute: calls of the suite's echo service through the Gateway.

Messages are taken apart by hand: the service's definition is the suite's, and three strings of it are wanted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import grpc
import grpc.aio

from tests.conformance import checks, client, status
from tests.conformance.cases import Case
from tests.conformance.run import LIMIT, Run
from tests.harness import streams

ROUTE, GATEWAY = "GRPCRoute", "same-namespace"

_METHODS = {"EchoRequest": "Echo", "EchoTwoRequest": "EchoTwo", "EchoThreeRequest": "EchoThree"}


async def _call(target: client.Target, method: str, metadata: Mapping[str, str]) -> tuple[str, str, str]:
    """Status code, pod, namespace."""
    options = [("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(f"{target.address}:{target.port}", options=options) as channel:
        stub = channel.unary_unary(f"/{streams.GRPC_SERVICE}/{method}")
        try:
            answer = await stub(
                b"", metadata=tuple((name.lower(), value) for name, value in metadata.items()), timeout=5
            )
        except grpc.aio.AioRpcError as failure:
            return failure.code().name, "", ""
    context = dict(streams.fields(dict(streams.fields(dict(streams.fields(answer))[1]))[4]))
    return grpc.StatusCode.OK.name, context[4].decode(), context[1].decode()


async def _expect(target: client.Target, wanted: Mapping[str, Any]) -> list[str]:
    """Three passes in a row, as for HTTP."""
    method = next(method for name, method in _METHODS.items() if name in wanted)
    metadata = (wanted.get("RequestMetadata") or {}).get("Metadata") or {}
    code = str((wanted.get("Response") or {}).get("Code", "codes.OK")).removeprefix("codes.").upper()
    end = asyncio.get_running_loop().time() + LIMIT
    passes = 0
    while passes < 3:
        got, pod, namespace = await _call(target, method, metadata)
        right = got == code and pod.startswith(wanted.get("Backend", ""))
        right = right and (code != "OK" or namespace == wanted.get("Namespace", namespace))
        passes = passes + 1 if right else 0
        if not right:
            if asyncio.get_running_loop().time() > end:
                said = f"{got} of {namespace}/{pod}"
                return [f"{method} {metadata}: {said}, expected {code} of {wanted.get('Backend', 'none')}"]
            await asyncio.sleep(0.05)
    return []


async def _calls(run: Run, case: Case, route: str) -> list[str]:
    found = list(
        status.route(
            run.status(ROUTE, route),
            gateway=GATEWAY,
            accepted=(True, "Accepted"),
            resolved=(True, "ResolvedRefs"),
            where=route,
        )
    )
    item = status.listener(run.status("Gateway", GATEWAY), "http")
    found += status.attachment(item, 1, where=GATEWAY, kind=ROUTE)
    for wanted in case.literals:
        found += await _expect(run.target(GATEWAY), wanted)
    return found


@checks.check("GRPCExactMethodMatching")
async def _methods(run: Run, case: Case) -> list[str]:
    return await _calls(run, case, "exact-matching")


@checks.check("GRPCRouteHeaderMatching")
async def _headers(run: Run, case: Case) -> list[str]:
    return await _calls(run, case, "grpc-header-matching")
