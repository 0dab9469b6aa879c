"""What clients might send so that nobody can count them: values that are no text, and very long ones."""

from __future__ import annotations

import asyncio

import pytest

from tests.envoy.test_ratelimit_policy import ROUTE, limit, policy, start
from tests.harness import net
from tests.harness.load import read_reply
from tests.harness.manifests import rule
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

PARTS = {
    "header": {"type": "Header", "name": "X-User"},
    "cookie": {"type": "Cookie", "name": "user"},
    "query": {"type": "Query", "name": "user"},
}


async def ask(site: Site, part: str, value: bytes) -> int:
    """The status of a request with `value` in that part of it."""
    query = b"?user=" + value if part == "query" else b""
    lines = [b"GET /" + part.encode() + query + b" HTTP/1.1", b"Host: shop.example"]
    lines += [b"X-User: " + value] if part == "header" else []
    lines += [b"Cookie: user=" + value] if part == "cookie" else []
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        writer.write(b"\r\n".join([*lines, b"", b""]))
        return (await asyncio.wait_for(read_reply(reader), 20)).status
    finally:
        writer.close()


async def test_no_value_is_a_way_around_a_limit(site: Site) -> None:
    """Each part has two limits, since a long value goes to the service once for each."""
    await start(site, *(rule("shop", path=f"/{part}", name=part) for part in PARTS), rule("shop"))
    site.plane.write(
        "policy.yaml",
        *(
            policy(
                {**ROUTE, "sectionName": part},
                part,
                few=limit(1, key=[key]),
                more=limit(50, key=[key]),
            )
            for part, key in PARTS.items()
        ),
    )

    async def counted(part: str) -> bool:
        return [await ask(site, part, b"ann") for _ in range(3)][-1] == 429

    for part in PARTS:
        await net.until(f"limited by {part}", lambda part=part: counted(part))  # type: ignore[misc]
    odd = {"header": b"a\xff", "cookie": b"a\xff", "query": b"a%ff"}
    for part, value in odd.items():
        for each in (value, b"b" * 40_000):
            found = [await ask(site, part, each) for _ in range(3)]
            assert found == [200, 429, 429], (part, each[:3])
