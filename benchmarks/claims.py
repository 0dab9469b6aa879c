"""What claims as headers cost a request: a text by Envoy's own `claim_to_headers`, a list by a few lines of
Lua (`format: List`), beside a token of which nothing is told.

A token (RS256, remembered) everywhere, which claims what is told and `sub`: Lua sees all of a token, so what
it costs grows with that. One Envoy for each row, one worker, wrk on 16 connections, in turns; what counts is
Envoy's own CPU time. Needs `wrk`; without it the section is left out. Called by `__main__`.
"""

from __future__ import annotations

import asyncio
import shutil
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from benchmarks import requests, worlds
from benchmarks.prepared import document
from benchmarks.report import Table, median
from benchmarks.requests import Shape
from dragoman import config, proto
from dragoman.envoy import process, static
from dragoman.envoy.admin import Admin
from dragoman.graph.pipeline import Pipeline
from tests.harness import envoy, manifests, net, tokens

_ROUNDS: Final = 8
_SECONDS: Final = 1
_EXPIRES: Final = 4_000_000_000
_HOST: Final = worlds.host(0)
_CASES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "nothing told": (),
    "one text": (("sub", "Text"),),
    "a list of 4, as Envoy writes it": (("four", "Text"),),
    "a list of 4, `format: List`": (("four", "List"),),
    "three of them": (("four", "List"), ("five", "List"), ("six", "List")),
    "a list of 40, `format: List`": (("forty", "List"),),
}
_ROLES: Final = {
    name: [f"role-{number}" for number in range(count)]
    for name, count in (("four", 4), ("five", 4), ("six", 4), ("forty", 40))
}


def _bootstrap(
    issuer: tokens.Issuer, told: tuple[tuple[str, str], ...], listen: int, backend: int, admin: Admin
) -> bytes:
    provider = {
        "name": "main",
        "issuer": issuer.name,
        "audiences": ["shop"],
        "jwks": {"inline": issuer.jwks},
        "claimsToHeaders": [
            {"claim": claim, "header": f"x-claim-{at}", "format": how} for at, (claim, how) in enumerate(told)
        ],
    }
    policy = {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "AuthPolicy",
        "metadata": {"name": "claims", "namespace": worlds.NAMESPACE},
        "spec": {"targetRefs": [{"kind": "HTTPRoute", "name": "r0"}], "jwt": {"providers": [provider]}},
    }
    route = manifests.http_route("r0", manifests.rule("s0"), hostnames=[_HOST])
    pipeline = Pipeline(config.Settings())
    bodies = [*worlds.gateway(listen), worlds.service(0), worlds.endpoints(0, backend), route, policy]
    pipeline.load([document(body) for body in bodies])
    return proto.serialize(static.bootstrap(pipeline.snapshot(), admin))


async def measure(folder: Path) -> list[Table]:
    """One row for each case."""
    table = Table(
        "Claims as headers",
        (
            "told to the backend",
            "CPU us, least",
            "CPU us, median",
            "more than the first, median of rounds",
        ),
        notes=[
            f"{_ROUNDS} rounds of {_SECONDS} s in turns; one worker, 16 connections, a backend beside it",
            "a token (RS256, remembered) in each case; the machine is shared",
        ],
    )
    if shutil.which("wrk") is None:
        table.notes = ["left out: there is no `wrk`"]
        return [table]
    issuer = tokens.Issuer("https://issuer.example")
    async with AsyncExitStack() as stack:
        backend = net.free_port()
        (folder / "backend").mkdir()
        answering = envoy.Envoy(requests.answering(backend, net.free_port()), folder / "backend")
        stack.push_async_callback(answering.stop)
        await answering.start()
        found = []
        for name, told in _CASES.items():
            claims: dict[str, Any] = {claim: _ROLES[claim] for claim, _ in told if claim != "sub"}
            token = issuer.token(aud="shop", exp=_EXPIRES, **claims)
            shape = Shape(name, [], (_HOST, "/"), (f"authorization: Bearer {token}",), port=net.free_port())
            admin = Admin(port=net.free_port())
            given = _bootstrap(issuer, told, shape.port, backend, admin)
            started = await stack.enter_async_context(process.running(given, admin=admin, concurrency=1))
            await started.ready()
            shape.pid = started.pid
            found.append(shape)
        costs: dict[str, list[float]] = {shape.name: [] for shape in found}
        for turn in range(_ROUNDS):
            for shape in found[::-1] if turn % 2 else found:
                costs[shape.name].append((await asyncio.to_thread(requests.load, shape, _SECONDS))[0])
    floor = costs[found[0].name]
    for name, each in costs.items():
        more = median([mine - least for mine, least in zip(each, floor, strict=True)])
        table.rows.append((name, f"{min(each):.1f}", f"{median(each):.1f}", f"{more:.1f}"))
    return [table]
