"""The admin server: health, readiness, and the checks that keep web pages out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from dragoman import pages
from dragoman.admin import server
from dragoman.graph.pipeline import Pipeline
from dragoman.refs import Ref
from dragoman.telemetry.metrics import Metrics
from dragoman.xds.ledger import Ledger


@pytest.fixture
async def running() -> AsyncIterator[tuple[pages.Server, Any]]:
    state = SimpleNamespace(pipeline=Pipeline(), ledger=Ledger(), metrics=Metrics(), started=0.0, why="")
    state.not_ready = lambda: state.why
    state.settle = lambda: None
    admin = server.make(state, "127.0.0.1", 0)
    await admin.start()
    try:
        yield admin, state
    finally:
        await admin.stop()


async def ask(url: str, **headers: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status, await answer.text()


async def test_readiness_follows_the_state(running: tuple[pages.Server, Any]) -> None:
    admin, state = running
    assert await ask(f"{admin.url}/readyz") == (200, "ok\n")
    state.why = "starting"
    assert await ask(f"{admin.url}/readyz") == (503, "starting\n")
    assert await ask(f"{admin.url}/healthz") == (200, "ok\n")


async def test_metrics(running: tuple[pages.Server, Any]) -> None:
    status, text = await ask(f"{running[0].url}/metrics")
    assert status == 200
    assert "dragoman_build_seconds_count 0.0" in text


@pytest.mark.parametrize(
    "path", ["status", "proxies", "objects", "diagnostics", "snapshot", "collections", "rollouts"]
)
async def test_endpoints_answer_when_there_is_nothing(running: tuple[pages.Server, Any], path: str) -> None:
    status, _ = await ask(f"{running[0].url}/api/v1/{path}")
    assert status == 200


async def test_a_question_that_makes_no_sense_is_refused_in_json(running: tuple[pages.Server, Any]) -> None:
    status, text = await ask(f"{running[0].url}/api/v1/snapshot?type=XDS")
    assert status == 400
    assert "no such type: XDS" in text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:18001"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example:18001"}, 421),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "https://evil.example"}, 403),
    ],
)
async def test_what_a_web_page_could_send_is_refused(
    running: tuple[pages.Server, Any], headers: dict[str, str], status: int
) -> None:
    for path in ("/metrics", "/api/v1/status", "/readyz"):
        assert (await ask(running[0].url + path, **headers))[0] == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-Dragoman": "1"}, 200),
        ({}, 403),
        ({"X-Dragoman": "1", "Origin": "https://evil.example"}, 403),
        ({"X-Dragoman": "1", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"X-Dragoman": "1", "Host": "evil.example"}, 421),
    ],
)
async def test_what_changes_something_asks_for_more(
    running: tuple[pages.Server, Any], headers: dict[str, str], status: int
) -> None:
    admin, state = running
    asked: list[str] = []

    def approve(name: str) -> Ref:
        asked.append(name)
        return Ref("dragoman.dev", "Rollout", "shop", name)

    state.rollouts = SimpleNamespace(approve=approve)
    url = f"{admin.url}/api/v1/rollouts/approve?name=cart"
    async with aiohttp.ClientSession() as session, session.post(url, headers=headers) as answer:
        assert answer.status == status
    assert asked == (["cart"] if status == 200 else [])
    assert (await ask(url, **{"X-Dragoman": "1"}))[0] == 405, "never by GET"


async def test_what_changes_something_is_for_this_machine(
    running: tuple[pages.Server, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_is_loopback", lambda _: False)
    url = f"{running[0].url}/api/v1/rollouts/abort?name=cart"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, headers={"X-Dragoman": "1"}) as answer,
    ):
        assert (answer.status, await answer.text()) == (403, "this is answered on the machine itself only\n")


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:18001", True),
        ("[::1]:18001", True),
        ("::1", True),
        ("localhost", True),
        ("LOCALHOST.:80", True),
        ("x.localhost", True),
        ("example.com", False),
        ("localhost.example.com", False),
        ("", False),
    ],
)
def test_hosts_on_loopback(host: str, allowed: bool) -> None:
    assert server.host_allowed(host, loopback=True) is allowed


def test_an_open_listener_is_known_under_any_name() -> None:
    assert server.host_allowed("dragoman.infra.svc:18001", loopback=False)
    assert not server.host_allowed("", loopback=False)
