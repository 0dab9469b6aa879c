"""What a request costs Envoy as Dragoman configures it, beside an Envoy whose configuration was written by
hand for the same: a token (RS256, remembered), a claim as a header, five rules, a local limit, a JSON access
log; and with none of these.

Both answer the same, with the same headers, else the run
fails. Envoys take turns, one worker each, wrk on 16 connections; what counts is Envoy's own CPU time. The log
is added to both by hand: Dragoman has none of its own yet. Needs `wrk`; without it the section is left out.
Called by `__main__`.
"""

from __future__ import annotations

import asyncio
import http.client
import shutil
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from benchmarks import byhand, requests, worlds
from benchmarks.prepared import document
from benchmarks.report import Goal, Table, median
from benchmarks.requests import Shape
from dragoman import config, proto
from dragoman.envoy import process, static
from dragoman.envoy.admin import Admin
from dragoman.graph.pipeline import Pipeline
from dragoman.proto.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from tests.harness import envoy, manifests, net, tokens
from tests.harness.manifests import Body

_ROUNDS: Final = 12
_SECONDS: Final = 1
_MOST: Final = 1.03
_EXPIRES: Final = 4_000_000_000
_HOST: Final = worlds.host(0)
_BARE: Final = ("nothing, by hand", "nothing, Dragoman")
_FULL: Final = ("full set, by hand", "full set, Dragoman")


def objects(listen: int, backend: int, issuer: tokens.Issuer | None) -> list[Body]:
    """The world for Dragoman; without an `issuer` just the route."""
    made = [*worlds.gateway(listen), worlds.service(0), worlds.endpoints(0, backend)]
    made.append(manifests.http_route("r0", manifests.rule("s0"), hostnames=[_HOST]))
    if issuer is None:
        return made
    provider = {
        "name": "main",
        "issuer": issuer.name,
        "audiences": ["shop"],
        "jwks": {"inline": issuer.jwks},
        "claimsToHeaders": [{"claim": "sub", "header": "x-user-id"}],
    }
    rules = [
        {"methods": ["DELETE"], "paths": [{"type": "PathPrefix", "value": "/admin"}]},
        {"claims": [{"name": "role", "values": ["admin"]}]},
        {"clientAddresses": ["10.0.0.0/8"]},
        {"methods": ["POST"], "scopes": {"allOf": ["cart:admin"]}},
        {"scopes": {"allOf": ["cart:read", "cart:write"]}},
    ]
    limit = {"requests": byhand.LIMIT, "per": "Second", "where": "Local"}
    made.append(_policy("AuthPolicy", jwt={"providers": [provider]}, rules={"allow": rules}))
    made.append(_policy("RateLimitPolicy", limits={"own": limit}))
    return made


def _policy(kind: str, **spec: Any) -> Body:
    return {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "full", "namespace": worlds.NAMESPACE},
        "spec": {"targetRefs": [{"kind": "HTTPRoute", "name": "r0"}], **spec},
    }


def generated(listen: int, backend: int, admin: Admin, issuer: tokens.Issuer | None) -> bytes:
    """Dragoman's bootstrap, with the log where there is an `issuer`."""
    pipeline = Pipeline(config.Settings())
    pipeline.load([document(body) for body in objects(listen, backend, issuer)])
    made = static.bootstrap(pipeline.snapshot(), admin)
    if issuer is not None:
        for chain in made.static_resources.listeners[0].filter_chains:
            packed = chain.filters[0].typed_config
            manager = hcm.HttpConnectionManager.FromString(packed.value)
            proto.merge_dict(manager, {"access_log": [byhand.log()]})
            packed.value = proto.serialize(manager)
    return proto.serialize(made)


async def measure(folder: Path) -> list[Table]:
    table = Table(
        "What a request costs as Dragoman configures Envoy, beside the same by hand",
        ("configuration", "CPU us, least", "CPU us, median", "to by hand, median of rounds"),
        notes=[
            f"{_ROUNDS} rounds of {_SECONDS} s in turns; one worker, 16 connections, a backend beside it",
            "to by hand: each round's CPU by that of the same round; the machine is shared",
            "full set: a token (RS256, remembered), a claim as a header, five rules, a local limit",
            "and a JSON access log to /dev/null, which is put into both by hand",
        ],
    )
    if shutil.which("wrk") is None:
        table.notes = ["left out: there is no `wrk`"]
        return [table]
    issuer = tokens.Issuer("https://issuer.example")
    token = issuer.token(aud="shop", scope="cart:read cart:write", role="clerk", exp=_EXPIRES)
    async with AsyncExitStack() as stack:
        backend = net.free_port()
        (folder / "backend").mkdir()
        answering = envoy.Envoy(requests.answering(backend, net.free_port()), folder / "backend")
        stack.push_async_callback(answering.stop)
        await answering.start()
        found = []
        for names, known in ((_BARE, None), (_FULL, issuer)):
            for name in names:
                shape = Shape(name, [], (_HOST, "/"), port=net.free_port())
                if known is not None:
                    shape.headers = (f"authorization: Bearer {token}",)
                admin = Admin(port=net.free_port())
                if name == names[0]:
                    given = byhand.bootstrap(_HOST, shape.port, backend, admin, known)
                else:
                    given = generated(shape.port, backend, admin, known)
                started = await stack.enter_async_context(process.running(given, admin=admin, concurrency=1))
                await started.ready()
                shape.pid = started.pid
                found.append(shape)
        await asyncio.to_thread(_compare, found, token)
        costs: dict[str, list[float]] = {shape.name: [] for shape in found}
        for turn in range(_ROUNDS):
            for shape in found[::-1] if turn % 2 else found:
                costs[shape.name].append((await asyncio.to_thread(requests.load, shape, _SECONDS))[0])
    for hand, ours in (_BARE, _FULL):
        share = median([mine / theirs for theirs, mine in zip(costs[hand], costs[ours], strict=True)])
        for name, part in ((hand, 1.0), (ours, share)):
            table.rows.append((name, f"{min(costs[name]):.1f}", f"{median(costs[name]):.1f}", f"{part:.3f}x"))
        if ours == _FULL[1]:
            table.goals.append(Goal("full set, Dragoman to by hand", share, _MOST, "x"))
    return [table]


def _compare(found: list[Shape], token: str) -> None:
    """All let good requests pass, both of a kind with the same headers; the full ones refuse those without a
    token."""
    heads: dict[str, set[str]] = {}
    for shape in found:
        status, names = _ask(shape, {"authorization": f"Bearer {token}"})
        heads[shape.name] = names
        without, _ = _ask(shape, {})
        wanted = (200, 401 if shape.headers else 200)
        if (status, without) != wanted:
            raise RuntimeError(f"{shape.name}: {status} with a token, {without} without, instead of {wanted}")
    for hand, ours in (_BARE, _FULL):
        if heads[hand] != heads[ours]:
            raise RuntimeError(f"answers differ in {heads[hand] ^ heads[ours]}")


def _ask(shape: Shape, headers: Mapping[str, str]) -> tuple[int, set[str]]:
    """The status, and the names of the answer's headers."""
    connection = http.client.HTTPConnection("127.0.0.1", shape.port, timeout=30)
    try:
        connection.request("GET", "/", headers={"host": _HOST, **headers})
        reply = connection.getresponse()
        reply.read()
        return reply.status, {name.lower() for name, _ in reply.getheaders()}
    finally:
        connection.close()
