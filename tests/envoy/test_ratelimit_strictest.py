"""Routes on which several of Envoy's filters count: clients are told one limit's numbers, the strictest's."""

from __future__ import annotations

import pytest

from tests.envoy.test_ratelimit_policy import ROUTE, USER, ask, change, limit, policy, start, statuses
from tests.harness.load import Reply
from tests.harness.manifests import rule
from tests.harness.site import Site

pytestmark = pytest.mark.envoy


def numbers(reply: Reply) -> tuple[int, str, str]:
    """Status, limit and what is left of it."""
    return reply.status, reply.headers["x-ratelimit-limit"], reply.headers["x-ratelimit-remaining"]


def drafts(reply: Reply) -> list[str]:
    return [reply.headers[f"ratelimit-{name}"] for name in ("limit", "remaining", "policy")]


async def test_local_beside_global(site: Site) -> None:
    await start(site)
    await change(site, policy(ROUTE, all=limit(5, where="Local"), per_user=limit(3, "Hour", key=USER)))
    for left in (2, 1, 0):
        assert numbers(await ask(site, x_user="ann")) == (200, "3", str(left))
    denied = await ask(site, x_user="ann")
    assert numbers(denied) == (429, "3", "0")
    assert denied.headers["x-ratelimit-reset"] == denied.headers["retry-after"]
    last = await ask(site, x_user="bob")
    assert numbers(last) == (200, "5", "0"), "of all together nothing is left"
    denied = await ask(site, x_user="cyd")
    assert numbers(denied) == (429, "5", "0")
    assert denied.headers["x-ratelimit-reset"].isdigit()
    assert "x-dragoman-denied" not in denied.headers


async def test_what_a_denial_says_is_the_denying_limits(site: Site) -> None:
    """Local limits are asked first, and their answer has its own status, body and wait."""
    await start(site)
    await change(
        site,
        policy(
            ROUTE,
            few=limit(1, "Hour", where="Local", status=503, key=USER, headers={"rateLimit": True}),
            many=limit(2, where="Global", headers={"rateLimit": True}),
        ),
    )
    passed = await ask(site, x_user="ann")
    assert numbers(passed) == (200, "1", "0")
    assert drafts(passed) == ["1", "0", "1;w=3600"]
    denied = await ask(site, x_user="ann")
    assert numbers(denied) == (503, "1", "0")
    assert drafts(denied) == ["1", "0", "1;w=3600"]
    assert await statuses(site, 1, x_user="bob") == [200]
    assert numbers(await ask(site, x_user="cyd"))[0] == 429


async def test_the_drafts_headers_go_with_them(site: Site) -> None:
    await start(site)
    told = {"headers": {"rateLimit": True}}
    await change(
        site,
        policy(ROUTE, all=limit(5, where="Local", **told), many=limit(2, "Hour", where="Global", **told)),
    )
    for left in (1, 0):
        reply = await ask(site)
        assert numbers(reply) == (200, "2", str(left))
        assert drafts(reply) == ["2", str(left), "2;w=3600"]
    assert drafts(await ask(site)) == ["2", "0", "2;w=3600"]


async def test_global_limits_of_several_filters(site: Site) -> None:
    await start(site)
    await change(site, policy(ROUTE, day=limit(9), own=limit(2, "Hour", status=503), user=limit(4, key=USER)))
    assert numbers(await ask(site, x_user="ann")) == (200, "2", "1")
    assert numbers(await ask(site, x_user="bob")) == (200, "2", "0")
    assert numbers(await ask(site, x_user="cyd")) == (503, "2", "0")


async def test_what_a_backend_says_of_itself(site: Site) -> None:
    """Numbers that do not belong together are let alone."""
    await start(site, rule("shop"))
    await change(site, policy(ROUTE, all=limit(5, where="Local"), many=limit(9)))
    reply = await ask(site, x_echo_set_header="x-ratelimit-remaining: 1")
    assert reply.headers["x-ratelimit-remaining"].split(",")[0].strip() == "1"
    assert reply.headers["x-ratelimit-limit"].count(",") == 1
    reply = await ask(site)
    assert numbers(reply) == (200, "5", "3")
