"""What is lost when an endpoint dies: a service of four, 200 requests a second, no retries; with active
checks and without any.

As gateway-api-bench does it: 256 routes to one Service, one of its endpoints goes away for some seconds and
comes back, again and again. It refuses connections and resets those that are open, as a killed process does.
Requests are sent when they are due, whatever becomes of the ones before. The endpoints say themselves what
they answered, so that one which never comes back into use is seen. Called by `__main__`; run as
`python -m benchmarks.failover` it is the endpoints: it prints their ports, obeys `stop N` and `start N`, and
answers `counts` with the requests and the checks that each has had.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import worlds
from benchmarks.children import Child
from benchmarks.probe import Probe
from benchmarks.report import Goal, Table
from tests.harness import envoy, manifests, net
from tests.harness.load import read_reply
from tests.harness.plane import Plane
from tests.harness.pods import Pod, policy

_ENDPOINTS: Final = 4
_ROUTES: Final = 256
_RATE: Final = 200
_CONNECTIONS: Final = 16
_OUTAGES: Final = 3
_DOWN: Final = 5.0
_UP: Final = 5.0
_LATER: Final = 3.0
"""Seconds after which an endpoint that is back must be in use again: it is checked twice first."""

_FAILURES: Final = 5
_KEPT: Final = 0.95
_BACK: Final = 0.5
"""Of an even share: what the endpoint must get then."""

_CHECKS: Final = 1.5
_CHECK: Final[dict[str, Any]] = {"http": {"path": "/healthz"}, "interval": "1s"}


@dataclass(slots=True)
class Outcome:
    """Of some outages: requests by what became of them, the worst outage's failures, the least of an even
    share that the endpoint got when it was back, and checks a second of the busiest endpoint."""

    ok: int
    failed: int
    worst: int
    back: float
    checks: float


class Traffic:
    """Requests at a steady rate until `stop`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._begun = time.monotonic()
        self._next = 0
        self._ended = False
        self._tasks = [asyncio.create_task(self._client()) for _ in range(_CONNECTIONS)]
        self.ok = self.failed = 0

    async def _client(self) -> None:
        """Takes the next request that is due, again and again; over a new connection where one was closed."""
        reader: asyncio.StreamReader | None = None
        writer: asyncio.StreamWriter | None = None
        while not self._ended:
            number, self._next = self._next, self._next + 1
            await asyncio.sleep(self._begun + number / _RATE - time.monotonic())
            try:
                if reader is None or writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                host = worlds.host(number % _ROUTES)
                writer.write(f"GET / HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
                reply = await read_reply(reader)
                good, closed = reply.status == 200, reply.headers.get("connection") == "close"
            except (OSError, EOFError):
                good, closed = False, True
            self.ok += good
            self.failed += not good
            if closed and writer is not None:
                writer.close()
                reader = writer = None
        if writer is not None:
            writer.close()

    async def stop(self) -> None:
        self._ended = True
        await asyncio.gather(*self._tasks)


async def measure(folder: Path) -> list[Table]:
    """Two rows; the run fails where an outage without checks costs nothing: then it was none."""
    table = Table(
        f"Failover: one of {_ENDPOINTS} endpoints dies, {_RATE} requests/s over {_ROUTES} routes, no retries",
        ("checks", "outages", "failed, each", "failed, worst", "ok kept", "share when back", "checks/s"),
        notes=[
            f"it refuses connections for {_DOWN:g} s, and is there for {_UP:g} s after that",
            f"share when back: of an even one, from {_LATER:g} s after its return; the least of all outages",
            "checks/s: that one endpoint gets; one cluster serves all routes",
        ],
    )
    async with AsyncExitStack() as stack:
        pods = stack.enter_context(Child("benchmarks.failover"))
        ports = [int(each) for each in pods.hear().split()]
        plane = Plane(folder, log_level="warning")
        listen = net.free_port()
        plane.write("gateway.yaml", *worlds.gateway(listen))
        slices = [manifests.endpoint_slice("s0", port, suffix=str(port)) for port in ports]
        plane.write("backend.yaml", worlds.service(0), *slices)
        plane.write("routes.yaml", *(worlds.route(number, service=0) for number in range(_ROUTES)))
        await plane.start()
        stack.push_async_callback(plane.stop)
        proxy = envoy.Envoy(
            envoy.bare(net.free_port(), envoy.ads(), [envoy.grpc_cluster(plane.xds_port)]), folder
        )
        stack.push_async_callback(proxy.stop)
        await proxy.start()
        probe = Probe(listen)
        stack.callback(probe.close)
        await asyncio.to_thread(probe.until, worlds.host(_ROUTES - 1), b"HTTP/1.1 200")
        bare = await _outages(listen, pods, 1)
        if bare.failed < _DOWN * _RATE / _ENDPOINTS / 2:
            raise RuntimeError(f"an outage without checks cost {bare.failed} requests")
        plane.write("policy.yaml", policy("p", "Service", "s0", healthCheck=_CHECK))
        await net.until("all endpoints are checked", lambda: all(each["checks"] for each in _counts(pods)))
        checked = await _outages(listen, pods, _OUTAGES)
    for name, outages, found in (("none", 1, bare), (f"every {_CHECK['interval']}", _OUTAGES, checked)):
        cells = (
            f"{found.failed / outages:.1f}",
            str(found.worst),
            f"{_kept(found):.1%}",
            f"{found.back:.2f}",
        )
        table.rows.append((name, str(outages), *cells, f"{found.checks:.1f}"))
    table.goals = [
        Goal("failed requests in the worst outage", checked.worst, _FAILURES, ""),
        Goal("ok traffic lost", 1 - _kept(checked), 1 - _KEPT, ""),
        Goal("share that the endpoint lacks when back", 1 - checked.back, 1 - _BACK, ""),
        Goal("checks of one endpoint", checked.checks, _CHECKS, "a second"),
    ]
    return [table]


def _kept(found: Outcome) -> float:
    """Of what was due."""
    return found.ok / (found.ok + found.failed)


async def _outages(port: int, pods: Child, count: int) -> Outcome:
    traffic = Traffic(port)
    await asyncio.sleep(1)
    before, begun = _counts(pods), time.monotonic()
    failures, shares = [], []
    for number in range(count):
        dying = number % _ENDPOINTS
        failed = traffic.failed
        pods.say(f"stop {dying}")
        await asyncio.sleep(_DOWN)
        pods.say(f"start {dying}")
        await asyncio.sleep(_LATER)
        there = _counts(pods)
        await asyncio.sleep(_UP - _LATER)
        got = [now["asked"] - then["asked"] for now, then in zip(_counts(pods), there, strict=True)]
        shares.append(got[dying] / (sum(got) / _ENDPOINTS))
        failures.append(traffic.failed - failed)
    passed = time.monotonic() - begun
    checks = [now["checks"] - then["checks"] for now, then in zip(_counts(pods), before, strict=True)]
    await traffic.stop()
    return Outcome(traffic.ok, traffic.failed, max(failures), min(shares), max(checks) / passed)


def _counts(pods: Child) -> list[dict[str, int]]:
    pods.say("counts")
    return json.loads(pods.hear())  # type: ignore[no-any-return]


async def main() -> None:
    pods = [Pod(str(number)) for number in range(_ENDPOINTS)]
    for pod in pods:
        await pod.start()
    print(*(pod.port for pod in pods), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        match line.split():
            case ["stop", number]:
                await pods[int(number)].stop()
            case ["start", number]:
                await pods[int(number)].start()
            case _:
                told = [{"asked": pod.mood.asked, "checks": pod.mood.checked} for pod in pods]
                print(json.dumps(told), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
