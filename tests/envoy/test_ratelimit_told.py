"""What limits of the service tell clients: headers and body switched off one by one, and answers that come
late because requests wait for their turn. One site for all; every test has rules of its own."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.envoy.test_ratelimit_policy import ROUTE, USER, ask, change, limit, policy, start
from tests.harness import manifests
from tests.harness.load import Reply
from tests.harness.manifests import rule
from tests.harness.site import Site

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

X_RATE_LIMIT = frozenset({"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"})
RATE_LIMIT = frozenset({"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "ratelimit-policy"})
RETRY = frozenset({"retry-after"})

SWITCHES: dict[str, tuple[manifests.Body, frozenset[str], frozenset[str]]] = {
    # What the policy says, what every answer has, and what a denial has besides.
    "default": ({}, X_RATE_LIMIT, RETRY),
    "all": ({"headers": {"rateLimit": True}}, X_RATE_LIMIT | RATE_LIMIT, RETRY),
    "no-x": ({"headers": {"xRateLimit": False, "rateLimit": True}}, RATE_LIMIT, RETRY),
    "no-draft": ({"headers": {"rateLimit": False}}, X_RATE_LIMIT, RETRY),
    "no-retry": (
        {"headers": {"rateLimit": True, "retryAfter": False}},
        X_RATE_LIMIT | RATE_LIMIT,
        frozenset(),
    ),
    "only-retry": ({"headers": {"xRateLimit": False}}, frozenset(), RETRY),
    "no-headers": ({"headers": {"xRateLimit": False, "retryAfter": False}}, frozenset(), frozenset()),
    "no-body": ({"body": {"disabled": True}}, X_RATE_LIMIT, RETRY),
    "nothing": (
        {"headers": {"xRateLimit": False, "retryAfter": False}, "body": {"disabled": True}},
        frozenset(),
        frozenset(),
    ),
}
QUEUE = {"type": "LeakyBucket", "burst": 4, "delay": 2}
_TURN = 1.5
"""Seconds from one turn to the next."""


def of(name: str, one: manifests.Body) -> manifests.Body:
    return policy({**ROUTE, "sectionName": name}, name, **{name: one})


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory, envoy_binary: object) -> AsyncIterator[Site]:
    async with Site(tmp_path_factory.mktemp("told")) as running:
        names = (*SWITCHES, "queue")
        await start(running, *(rule("shop", path=f"/{name}", name=name) for name in names), rule("shop"))
        await change(
            running,
            *(of(name, limit(1, **said)) for name, (said, _, _) in SWITCHES.items()),
            of("queue", limit(1, "1500ms", algorithm=QUEUE, key=USER)),
        )
        yield running


@pytest.mark.parametrize("name", SWITCHES)
async def test_switches(site: Site, name: str) -> None:
    """Nothing is told that is switched off, and everything else is."""
    said, always, denied = SWITCHES[name]
    passed, refused = await ask(site, f"/{name}"), await ask(site, f"/{name}")
    assert (passed.status, refused.status) == (200, 429)
    assert told(passed) == always
    assert told(refused) == always | denied
    if "body" in said:
        assert refused.body == b""
    else:
        body = json.loads(refused.body)
        assert (body["error"], body["limit"]) == ("rate_limit_exceeded", 1)
        if denied:
            assert refused.headers["retry-after"] == str(body["retryAfter"])


def told(reply: Reply) -> set[str]:
    """What headers say of limits, whoever made them."""
    return {name for name in reply.headers if "ratelimit" in name or name == "retry-after"}


async def test_a_leaky_bucket_with_delay(site: Site) -> None:
    """nginx's `burst=4 delay=2`: of seven at once one and two more pass without waiting, two wait for their
    turn, the rest is refused at once."""
    loop = asyncio.get_running_loop()
    begun = 0.0

    async def one(user: str) -> tuple[int, float]:
        reply = await ask(site, "/queue", x_user=user)
        return reply.status, loop.time() - begun

    for number in itertools.count():
        assert number < 8
        begun = loop.time()
        work = [asyncio.create_task(one(f"user{number}")) for _ in range(7)]
        _, late = await asyncio.wait(work, timeout=_TURN / 2)
        if len(late) <= 2:
            break
        await asyncio.wait(late)  # they came one after the other: a machine that stood still
    found = sorted([await each for each in work], key=lambda each: each[1])
    assert sorted(status for status, _ in found[:5]) == [200] * 3 + [429] * 2
    assert [status for status, _ in found[5:]] == [200] * 2
    assert len(late) == 2
    assert found[5][1] > _TURN * 0.9
    assert found[6][1] > 2 * _TURN * 0.9
