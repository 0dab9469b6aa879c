"""What it costs to have tokens looked up at their issuer, or API keys in Redis: requests through Envoy.

`dragoman authz` as users run it, one Envoy with a path for each way, nginx behind it, an issuer in a process
of its own that answers at once. `wrk` asks with a thousand tokens in turn, so that without a memory each
request is a question of its own. Rounds take turns.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from benchmarks import processes, ratelimit
from benchmarks.report import Goal, Table, median
from dragoman import config, proto
from dragoman.envoy import process as envoys, static
from dragoman.envoy.admin import Admin
from dragoman.graph.pipeline import Pipeline
from dragoman.sources import files
from tests.harness import issuer as issuers, manifests, net

_ROUNDS: Final = 5
_SECONDS: Final = 1
_CONNECTIONS: Final = 64
_SCRIPT: Final = Path(__file__).with_name("tokens.lua")
_SECRET: Final = "secret"
_NONE, _KEYS = "nothing looked up", "keys in Redis"
_CACHED, _ASKED = "tokens, remembered", "tokens, asked each time"
_PATHS: Final = {_NONE: "/none", _CACHED: "/cached", _ASKED: "/asked", _KEYS: "/keys"}


def measure(folder: Path) -> list[Table]:
    """One table; none where there is no wrk or nginx."""
    if not (shutil.which("wrk") and shutil.which("nginx")):
        return []
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(ratelimit.redis_server(folder)) if shutil.which("redis-server") else None
        upstream = stack.enter_context(ratelimit.nginx(folder))
        issuer, port = net.free_port(), net.free_port()
        _start(stack, [sys.executable, "-m", "benchmarks.authz", str(issuer)])
        there = folder / "manifests"
        there.mkdir()
        listen = net.free_port()
        (there / "all.yaml").write_text(yaml.safe_dump_all(_objects(listen, upstream, issuer)))
        command = [sys.executable, "-m", "dragoman", "authz", str(there), "--port", str(port)]
        command += ["--log-level", "error"]
        if redis is not None:
            command += ["--store", f"redis://127.0.0.1:{redis.port}"]
            digest = hashlib.sha256(b"k").hexdigest()
            put = ["redis-cli", "-p", str(redis.port), "HSET", f"dragoman:key:shop:{{{digest}}}"]
            subprocess.run([*put, "id", "c", "quota", "1000000000"], check=True, stdout=subprocess.DEVNULL)
        companion = _start(stack, command)
        for each in (issuer, port):
            ratelimit.wait(each)
        names = [name for name in _PATHS if redis is not None or name != _KEYS]
        return [asyncio.run(_through_envoy(there, listen, port, companion.pid, names))]


async def _through_envoy(folder: Path, listen: int, port: int, companion: int, names: Sequence[str]) -> Table:
    settings = config.Settings(authz=config.Authz(enabled=False, port=port))
    pipeline = Pipeline(settings)
    pipeline.load(files.Files([folder]).load().upserts)
    snapshot = pipeline.snapshot()
    resources = [one for kind in snapshot.types() for one in snapshot.resources(kind).values()]
    admin = Admin(port=net.free_port())
    given = proto.serialize(static.bootstrap(resources, admin))
    rates: dict[str, list[float]] = {name: [] for name in names}
    cost: dict[str, list[float]] = {name: [] for name in names}
    waits: dict[str, list[float]] = {name: [] for name in names}
    shares: dict[str, list[float]] = {name: [] for name in names}
    wrong = dict.fromkeys(names, 0)
    async with envoys.running(given, admin=admin, concurrency=1) as envoy:
        await envoy.ready()
        for name in names:
            await _run(listen, name)  # warm, and what is remembered is
        for _ in range(_ROUNDS):
            done: list[tuple[str, float]] = []
            for name in ratelimit.order(list(names)):
                before = processes.cpu(companion)
                run = await _run(listen, name)
                rates[name].append(run.rate)
                cost[name].append((processes.cpu(companion) - before) / max(run.requests, 1))
                waits[name].append(run.wait)
                wrong[name] += run.wrong
                done.append((name, run.rate))
            for name, share in ratelimit.shares_of(done):
                shares[name].append(share)
    table = Table(
        "Tokens and keys that are looked up, through Envoy, nginx behind it",
        ("way", "requests/s", "to nothing looked up", "p50 ms", "companion CPU us", "not passed"),
        notes=[
            f"wrk, {_CONNECTIONS} connections, a thousand tokens in turn; `dragoman authz` in one process",
            f"medians of {_ROUNDS} rounds of {_SECONDS} s that take turns",
            "wrk, Envoy (one worker), nginx, the companion, the issuer and Redis share the machine",
            "to nothing looked up: each run by the mean of the two without just before and after it",
        ],
    )
    for name in names:
        part = f"{median(shares[name]):.3f}" if shares[name] else "1"
        figures = (f"{median(rates[name]):,.0f}", part, f"{median(waits[name]):.1f}")
        spent = f"{median(cost[name]) * 1e6:.0f}" if name != _NONE else "-"
        table.rows.append((name, *figures, spent, str(wrong[name])))
    remembered = median(rates[_CACHED])
    table.goals.append(Goal("asked each time to remembered", median(rates[_ASKED]) / remembered, 0.6, "x"))
    table.goals.append(Goal("requests that did not pass", sum(wrong.values()), 0, ""))
    return table


async def _run(port: int, name: str) -> ratelimit.Run:
    return await ratelimit.wrk(port, _SECONDS, script=_SCRIPT, path=_PATHS[name])


def _objects(listen: int, upstream: int, issuer: int) -> list[dict[str, Any]]:
    backend = {"group": "dragoman.dev", "kind": "Backend", "name": "nginx"}
    rules = [
        {"name": path[1:], "matches": [{"path": {"value": path}}], "backendRefs": [backend]}
        for path in _PATHS.values()
    ]
    tokens = {
        "endpoint": f"http://127.0.0.1:{issuer}/introspect",
        "clientID": "gateway",
        "clientSecretRef": {"name": "gateway"},
        "claimsToHeaders": [{"claim": "sub", "header": "x-user-id"}],
    }
    forgotten = {"active": "0s", "inactive": "0s"}
    return [
        manifests.gateway_class(),
        manifests.gateway(manifests.listener("http", listen)),
        _own("Backend", "nginx", endpoints=[{"address": "127.0.0.1", "port": upstream}]),
        manifests.http_route("bench", *rules, hostnames=[]),
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "gateway", "namespace": "shop"},
            "stringData": {"client-secret": _SECRET},
        },
        _policy("cached", introspection=tokens),
        _policy("asked", introspection={**tokens, "remember": forgotten}),
        _policy("keys", redisKeys={}),
    ]


def _policy(section: str, **spec: Any) -> dict[str, Any]:
    target = {"kind": "HTTPRoute", "name": "bench", "sectionName": section}
    return _own("AuthPolicy", section, targetRefs=[target], **spec)


def _own(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": "dragoman.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def _start(stack: contextlib.ExitStack, command: Sequence[str]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    stack.callback(ratelimit.end, process)
    return process


async def _issuer(port: int) -> None:
    issuer = issuers.Issuer("gateway", _SECRET)
    issuer.port = port
    issuer.noting = False
    issuer.tokens |= {
        f"t{number}": {"active": True, "sub": f"user-{number}", "scope": "cart:read cart:write"}
        for number in range(1000)
    }
    await issuer.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_issuer(int(sys.argv[1])))
