"""`POST /json`: a decision for whoever asks by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest_asyncio

from dragoman import pages
from dragoman.ratelimit import asking, metrics, rules
from dragoman.ratelimit.algorithms import LeakyBucket
from dragoman.ratelimit.transport import base as transport
from tests.unit.ratelimit.calls import LIMITS, Desk

SECOND = 1_000_000


class Page:
    """A page with `desk`'s service behind it."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        app = pages.application(lambda: (True, {}), metrics.Metrics().text)
        app.router.add_post("/json", pages.question(lambda text: asking.ask(self.handler, text)))
        self.server = pages.Server(app, "127.0.0.1", 0)
        self.handler: transport.Handler = desk.service.should_rate_limit

    async def post(self, text: str, **headers: str) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.server.url}/json", data=text, headers=headers) as reply,
        ):
            return reply.status, await reply.text()

    async def ask(self, key: str, **more: Any) -> tuple[int, dict[str, Any]]:
        said = {"domain": "shop", "descriptors": [{"entries": [{"key": key, "value": "a"}]}], **more}
        status, text = await self.post(json.dumps(said))
        return status, json.loads(text)


@pytest_asyncio.fixture
async def page() -> AsyncIterator[Page]:
    made = Page(Desk(LIMITS))
    await made.server.start()
    yield made
    await made.server.stop()


async def test_a_decision_in_json(page: Page) -> None:
    status, found = await page.ask("hour", hitsAddend=10)
    assert (status, found["overallCode"]) == (200, "OK")
    (said,) = found["statuses"]
    assert said["currentLimit"] == {"requestsPerUnit": 10, "unit": "HOUR"}
    status, found = await page.ask("hour", hits_addend=1)
    assert (status, found["statuses"][0]["code"]) == (429, "OVER_LIMIT")
    assert page.desk.metrics.decisions == {("shop", "ok"): 1, ("shop", "over_limit"): 1}


async def test_what_is_no_question(page: Page) -> None:
    for text in ("", "[]", "{", '{"domain": 1}', '{"no": "such"}', "{}", '{"domain": "shop"}'):
        status, said = await page.post(text)
        assert status == 400, text
        assert json.loads(said)["error"]
    status, _ = await page.post('{"domain": "shop"}', Origin="https://evil.example")
    assert status == 403


async def test_answers_that_come_later_and_those_that_do_not_come(page: Page) -> None:
    limit = rules.Limit(LeakyBucket(20, SECOND, 5), "paced", "shop.paced")
    page.desk.service.load(rules.Table([rules.Rule("shop", (rules.Match("user"),), (limit,))]))
    found = await asyncio.gather(*(page.ask("user") for _ in range(3)))
    assert [status for status, _ in found] == [200] * 3
    page.handler = lambda *_: transport.Status(transport.Code.UNAVAILABLE, "gone")
    status, said = await page.post('{"domain": "shop"}')
    assert (status, json.loads(said)) == (500, {"error": "gone"})
