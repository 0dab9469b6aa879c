"""Rollouts through the real control plane and a real Envoy: the weights that requests meet, what a step
costs, what Envoy's own reports lead to, and that a restart changes nothing.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import net
from tests.harness.echo import Answer, Echo, Request
from tests.harness.load import Load, read_reply
from tests.harness.manifests import Body, http_route, rule
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

_SENT = "dragoman_xds_responses_total"
_TYPES = ("CDS", "EDS", "LDS", "RDS")
_ROUTE = http_route("shop", rule(("old", 100), ("new", 0)))


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(tmp_path)
    made.plane._environment["DRAGOMAN_STATE_DIRECTORY"] = str(tmp_path / "state")
    async with made as running:
        for name in ("old", "new"):
            running.plane.write(f"{name}.yaml", *await running.service(name))
        running.plane.write("shop.yaml", _ROUTE)
        await running.served("shop.example")
        yield running


def rollout(*steps: Body, **more: Any) -> Body:
    return {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "shop", "namespace": "shop"},
        "spec": {
            "targetRef": {"name": "shop"},
            "stable": {"name": "old", "port": 80},
            "canary": {"name": "new", "port": 80},
            "steps": list(steps),
            **more,
        },
    }


def by_hand(*weights: int) -> list[Body]:
    return [{"weight": weight, "approval": True} for weight in weights]


async def said(site: Site, *arguments: str) -> tuple[int, str]:
    """`dragoman rollout ...`: exit code and everything it says."""
    command = [sys.executable, "-m", "dragoman", "rollout", *arguments]
    command += ["--server", f"http://127.0.0.1:{site.plane.admin_port}"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


async def status(site: Site) -> dict[str, Any]:
    (found,) = await site.plane.get("/api/v1/rollouts?name=shop")
    return found["status"]  # type: ignore[no-any-return]


async def reached(site: Site, weight: int, reason: str) -> None:
    """Returns when the canary has that weight for that reason."""

    async def there() -> bool:
        body = await status(site)
        return body["canaryWeight"] == weight and body["conditions"][-1]["reason"] == reason

    await net.until(f"{weight}% {reason}", there, limit=60)


async def pushes(site: Site) -> dict[str, float]:
    """Responses sent to Envoy, by type; one group."""
    found = await site.plane.metrics(_SENT)
    return {kind: n for name, n in found.items() for kind in _TYPES if f'"{kind}"' in name}


async def acked(site: Site, before: dict[str, float]) -> None:
    """Returns when Envoy was sent something since, and has taken it."""

    async def done() -> bool:
        acks = await site.plane.metrics("dragoman_xds_acks_total")
        sent = await site.plane.metrics(_SENT)
        return await pushes(site) != before and sum(acks.values()) == sum(sent.values())

    await net.until("Envoy's ACK", done)


async def measured(load: Load, requests: int = 1500) -> float:
    """Percent of the next requests that the canary answers; of 1,500 it is off by 1.3 in the mean."""
    old, new = load.pods["old"], load.pods["new"]
    await load.more(requests)
    old, new = load.pods["old"] - old, load.pods["new"] - new
    assert old + new >= 1000
    return 100 * new / (old + new)


async def test_steps_weights_and_their_cost(site: Site) -> None:
    """Two steps and a promotion: the share as said, one RDS response each, and no request lost."""
    before = await pushes(site)
    site.plane.write("rollout.yaml", rollout(*by_hand(20, 60)))
    await reached(site, 20, "AwaitingApproval")
    async with site.load("shop.example") as load:
        await load.seen("new")
        # It was there before it got anything: no cluster came with the first step.
        assert (await pushes(site))["CDS"] == before["CDS"]
        assert await measured(load) == pytest.approx(20, abs=6)
        for weight, reason in ((60, "AwaitingApproval"), (100, "Promoted")):
            before = await pushes(site)
            code, words = await said(site, "approve", "shop")
            assert (code, words) == (0, "Rollout shop/shop approved\n")
            await reached(site, weight, reason)
            await acked(site, before)
            await load.more(100)
            assert await pushes(site) == before | {"RDS": before["RDS"] + 1}
            assert await measured(load) == pytest.approx(weight, abs=6)
    assert not load.failures, dict(load.failures)
    code, words = await said(site, "status")
    assert code == 0
    assert "Promoted" in words
    # The route itself says the same now: nothing moves, and the Rollout has nothing more to do.
    before = await pushes(site)
    site.plane.write("shop.yaml", http_route("shop", rule(("old", 0), ("new", 1))))
    await net.until("idle", lambda: _idle(site))
    async with site.load("shop.example") as load:
        await load.only("new")


async def _idle(site: Site) -> bool:
    return bool((await status(site))["conditions"][0]["reason"] == "Idle")


async def test_testers_get_the_canary(site: Site) -> None:
    """By header or by cookie, at weight 0; nobody else, and not once it was taken back."""
    testers = [
        {"headers": [{"name": "X-Canary", "value": "always"}]},
        {"cookies": [{"name": "canary", "value": "yes"}]},
    ]
    site.plane.write("rollout.yaml", rollout(*by_hand(0), testers=testers))
    await reached(site, 0, "AwaitingApproval")
    await net.until("the testers' routes", lambda: _answers(site, "new", "x-canary: always"))
    assert await _answers(site, "new", "cookie: a=b; canary=yes; c=d")
    assert await _answers(site, "new", "cookie: canary=yes")
    assert await _answers(site, "old", "cookie: canary=yesno")
    assert await _answers(site, "old", "cookie: notcanary=yes")
    assert await _answers(site, "old", "x-canary: never")
    assert (await said(site, "abort", "shop/shop"))[0] == 0
    await net.until("testers back at the old one", lambda: _answers(site, "old", "x-canary: always"))
    code, words = await said(site, "abort", "shop")
    assert (code, "rolled back already" in words) == (2, True)


async def _answers(site: Site, pod: str, header: str) -> bool:
    """Whether that pod alone answers requests with the header."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        for _ in range(5):
            writer.write(f"GET / HTTP/1.1\r\nhost: shop.example\r\n{header}\r\n\r\n".encode())
            reply = await asyncio.wait_for(read_reply(reader), 15)
            if reply.pod != pod:
                return False
        return True
    finally:
        writer.close()


class Failing(Echo):
    """A version with a fault."""

    def answer(self, request: Request) -> Answer:
        del request
        return Answer(500, b"", (("x-pod", self.identity.pod),))


async def test_a_canary_that_fails_is_taken_back(site: Site) -> None:
    """Envoy's reports of its requests say so: no Prometheus, no other measurement."""
    site.plane.write(
        "rollout.yaml",
        rollout(
            {"weight": 50, "pause": "10m"},
            checks=[{"name": "errors", "successRate": {"min": 99}, "minRequests": 50, "interval": "1s"}],
        ),
    )
    await reached(site, 50, "Pausing")
    async with site.load("shop.example") as load:
        await load.seen("new")
        await net.until("a good verdict", lambda: _verdict(site, "Good"))
        assert (await status(site))["canaryWeight"] == 50
    assert not load.failures
    canary = site.backends["new"]
    canary.echo = Failing(canary.echo.identity)
    async with site.load("shop.example") as load:
        await reached(site, 0, "CheckFailed")
        await load.only("old")
        seen = load.failures.total()
        await load.more(200)
        assert load.failures.total() == seen
    assert set(load.failures) == {"status 500 ()"}
    body = await status(site)
    assert body["phase"] == "RolledBack"
    assert body["checks"][0]["verdict"] == "Bad"
    assert "success of" in body["conditions"][-1]["message"]
    code, words = await said(site, "status", "-o", "json")
    assert code == 1
    assert json.loads(words)[0]["status"]["phase"] == "RolledBack"


async def _verdict(site: Site, wanted: str) -> bool:
    return bool((await status(site))["checks"][0]["verdict"] == wanted)


async def test_slow_is_a_failure_too(site: Site) -> None:
    """Latency by Envoy's reports, and `onFailure: Hold`; approval overrules it."""
    check = {"latency": {"percentile": 50, "max": "100ms"}, "minRequests": 10, "interval": "1s"}
    site.plane.write(
        "rollout.yaml", rollout({"weight": 50, "pause": "10m"}, checks=[check], onFailure="Hold")
    )
    await reached(site, 50, "Pausing")
    async with site.load("shop.example", path="/?delay=300ms", connections=8, warm=0):
        await reached(site, 50, "CheckFailed")
    assert (await status(site))["phase"] == "Held"
    assert (await said(site, "approve", "shop"))[0] == 0
    await net.until("it goes on", lambda: _phase(site, "Progressing"))


async def _phase(site: Site, wanted: str) -> bool:
    return bool((await status(site))["phase"] == wanted)


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_restart_changes_nothing(site: Site, how: str) -> None:
    """The step goes on where it was, Envoy is sent nothing, and no request meets another weight."""
    site.plane.write("rollout.yaml", rollout(*by_hand(30, 70)))
    await reached(site, 30, "AwaitingApproval")
    await said(site, "approve", "shop")
    await reached(site, 70, "AwaitingApproval")
    since = (await status(site))["stepSince"]
    async with site.load("shop.example") as load:
        await load.more(100)
        await (site.plane.stop() if how == "stop" else site.plane.kill())
        await load.more(100)
        await site.plane.start()
        await net.until("Envoy back", lambda: _subscribed(site))
        assert await measured(load) == pytest.approx(70, abs=4)
    assert not load.failures
    body = await status(site)
    assert (body["step"], body["canaryWeight"], body["stepSince"]) == (2, 70, since)
    assert not await site.plane.metrics(_SENT)
    await said(site, "approve", "shop")
    await reached(site, 100, "Promoted")


async def _subscribed(site: Site) -> bool:
    streams = await site.plane.metrics("dragoman_xds_streams{")
    return all(any(kind in name for name in streams) for kind in ("CDS", "EDS", "LDS", "RDS"))


async def test_other_steps_begin_anew(site: Site) -> None:
    """A rollout that was taken back stays so until its steps change; other edits do not wake it."""
    site.plane.write("rollout.yaml", rollout(*by_hand(30)))
    await reached(site, 30, "AwaitingApproval")
    await said(site, "abort", "shop")
    await reached(site, 0, "Aborted")
    testers = [{"headers": [{"name": "X-Canary", "value": "always"}]}]
    site.plane.write("rollout.yaml", rollout(*by_hand(30), testers=testers, onFailure="Hold"))
    await asyncio.sleep(2)  # four looks of the controller
    assert (await status(site))["phase"] == "RolledBack"
    site.plane.write("rollout.yaml", rollout(*by_hand(40), testers=testers))
    await reached(site, 40, "AwaitingApproval")


async def test_no_client_keeps_the_reports_from_being_read(site: Site) -> None:
    """Envoy puts a client's request id into them as it is, and protobuf takes no texts that are none."""
    check = {"name": "fine", "successRate": {"min": 100}, "minRequests": 20, "interval": "1s"}
    site.plane.write("rollout.yaml", rollout({"weight": 100}, checks=[check]))
    await reached(site, 100, "AwaitingChecks")

    async def promoted() -> bool:
        """Sends on: Envoy may hear of the weight a moment later."""
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        try:
            for _ in range(20):
                writer.write(b"GET / HTTP/1.1\r\nHost: shop.example\r\nX-Request-ID: \xff\r\n\r\n")
                assert (await read_reply(reader)).status == 200
        finally:
            writer.close()
        return bool((await status(site))["conditions"][-1]["reason"] == "Promoted")

    await net.until("the reports are read", promoted, limit=60)
