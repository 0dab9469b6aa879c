"""Clients that are known by their tokens, as many as there are: what one that goes costs, and how long it
still passes.

One Gateway, one route that answers by itself and lets one group in, N Consumers with a subject each, a
hundred to a file. One of them leaves the group: time runs from the rename of the file to the first request
with its token that Envoy refuses. `keys` has the same for API keys. Called by `__main__`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from benchmarks import keys, processes, worlds
from benchmarks.report import Goal, Table, high, median, ms, ratio
from tests.harness import envoy, manifests, net, tokens
from tests.harness.plane import Plane

_EACH: Final = 100
_GAP: Final = 1.0
_CHANGES: Final = 8
_EXPIRES: Final = 4_000_000_000
_ISSUER: Final = "https://issuer.example"


def _bundle(number: int, count: int, gone: int = 0) -> list[manifests.Body]:
    """A hundred Consumers; the first `gone` are in no group."""
    return [
        {
            "apiVersion": "dragoman.dev/v1alpha1",
            "kind": "Consumer",
            "metadata": {"name": _name(number, at), "namespace": worlds.NAMESPACE},
            "spec": {
                "tokens": [{"issuer": _ISSUER, "value": _name(number, at)}],
                "groups": ["former" if at < gone else "staff"],
                "plan": "gold",
            },
        }
        for at in range(min(_EACH, count))
    ]


def _name(number: int, at: int) -> str:
    return f"client-{number:06}-{at:03}"


def _gateway(port: int, issuer: tokens.Issuer) -> list[manifests.Body]:
    provider = {"name": "main", "issuer": _ISSUER, "audiences": ["shop"], "jwks": {"inline": issuer.jwks}}
    jwt = {"consumerClaim": "sub", "providers": [provider]}
    return [*keys.gateway(port), keys.policy(jwt=jwt, rules={"allow": [{"groups": ["staff"]}]})]


async def _measure(folder: Path, count: int) -> dict[str, list[float]]:
    port, issuer = net.free_port(), tokens.Issuer(_ISSUER)

    def line(number: int, at: int) -> str:
        return f"authorization: Bearer {issuer.token(sub=_name(number, at), aud='shop', exp=_EXPIRES)}"

    files = max(1, count // _EACH)
    async with AsyncExitStack() as stack:
        plane = Plane(folder / "plane", log_level="warning")
        plane.write("gateway.yaml", *_gateway(port, issuer))
        for number in range(files):
            plane.write(f"c{number}.yaml", *_bundle(number, count))
        await plane.start(limit=600)
        stack.push_async_callback(plane.stop)
        begin = processes.exact_cpu(plane.pid)
        place = folder / "envoy"
        place.mkdir()
        bootstrap = envoy.bare(net.free_port(), envoy.ads(), [envoy.grpc_cluster(plane.xds_port)])
        proxy = envoy.Envoy(bootstrap, place, log_level="error")
        stack.push_async_callback(proxy.stop)
        await proxy.start()
        await asyncio.to_thread(keys.until, port, line(files - 1, 0), b"302", 120)
        found: dict[str, list[float]] = {
            "begin": [begin],
            "memory": [processes.rss(proxy.pid) / 2**20],
            "own": [processes.rss(plane.pid) / 2**20],
            "time": [],
            "envoy": [],
            "plane": [],
        }
        for step in range(_CHANGES):
            number, gone = step * 7919 % files, step // files + 1
            draft = folder / "draft.yaml"
            draft.write_text(worlds.text(_bundle(number, count, gone)))
            await asyncio.sleep(_GAP)
            before = processes.exact_cpu(proxy.pid), processes.exact_cpu(plane.pid)
            begun = time.perf_counter()
            draft.rename(plane.folder / f"c{number}.yaml")
            refused = await asyncio.to_thread(keys.until, port, line(number, gone - 1), b"403", 60)
            found["time"].append(refused - begun)
            await asyncio.sleep(_GAP)
            found["envoy"].append(processes.exact_cpu(proxy.pid) - before[0])
            found["plane"].append(processes.exact_cpu(plane.pid) - before[1])
            if keys.ask(port, line(number, _EACH - 1)) != b"302" and count >= _EACH:
                raise RuntimeError("another client does not pass any more")
        return found


async def measure(folder: Path, sizes: Iterable[int]) -> list[Table]:
    """One row per number of clients."""
    table = Table(
        "Token subjects: one client among N leaves its group",
        (
            "clients",
            "refused after, median ms",
            "90 % ms",
            "Envoy's CPU ms",
            "control plane's CPU ms",
            "Envoy MiB",
            "control plane MiB",
            "its start, CPU s",
        ),
        notes=["from the rename of its file to the first 403; CPU of the second after it included"],
    )
    first: dict[str, list[float]] = {}
    for count in sizes:
        place = folder / f"subjects-{count}"
        place.mkdir()
        found = await _measure(place, count)
        first = first or found
        table.rows.append(
            (
                f"{count:,}",
                ms(median(found["time"])),
                ms(high(found["time"])),
                f"{ms(median(found['envoy']))} ({ratio(median(found['envoy']), median(first['envoy']))})",
                f"{ms(median(found['plane']))} ({ratio(median(found['plane']), median(first['plane']))})",
                f"{found['memory'][0]:.0f}",
                f"{found['own'][0]:.0f}",
                f"{found['begin'][0]:.1f}",
            )
        )
        table.goals.append(Goal(f"{count:,} clients: refused within", high(found["time"]), 1.0, "s"))
    return [table]
