"""What objects refer to by URL: fetched, bounded, kept when a later try fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from dragoman import config
from dragoman.runtime import fetching
from dragoman.translators import base
from tests.harness import net

ONE, TWO = '{"keys": [1]}', '{"keys": [2]}'


class Pipeline:
    """What the fetcher asks of a pipeline."""

    def __init__(self, *wanted: str) -> None:
        self.wanted = set(wanted)
        self.found: dict[str, base.Fetched | None] = {}
        self._changed: Callable[[], None] = lambda: None

    def follow_wanted(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    def put_fetched(self, url: str, fetched: base.Fetched | None) -> None:
        self.found[url] = fetched

    def want(self, *urls: str) -> None:
        self.wanted = set(urls)
        self._changed()


class Site:
    """A server whose answer a test decides."""

    def __init__(self) -> None:
        self.body = ONE
        self.status = 200
        self.asked = 0

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(text=self.body, status=self.status)


@pytest.fixture
async def site() -> AsyncIterator[tuple[Site, str]]:
    made = Site()
    app = web.Application()
    app.router.add_get("/keys", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    port = net.free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield made, f"http://127.0.0.1:{port}/keys"
    await runner.cleanup()


@asynccontextmanager
async def running(pipeline: Pipeline, **settings: float) -> AsyncIterator[fetching.Fetcher]:
    known = config.Fetching(**{"interval": 0.05, **settings})  # type: ignore[arg-type]
    fetcher = fetching.Fetcher(pipeline, lambda change: change(), known)  # type: ignore[arg-type]
    task = asyncio.create_task(fetcher.run())
    yield fetcher
    task.cancel()
    await asyncio.wait({task})


async def test_it_is_fetched_again_and_again(site: tuple[Site, str]) -> None:
    server, url = site
    pipeline = Pipeline(url)
    async with running(pipeline) as fetcher:
        await fetcher.first(5.0, lambda: None)
        assert pipeline.found[url] == base.Fetched(ONE)
        server.body = TWO
        await net.until("the new body", lambda: pipeline.found[url] == base.Fetched(TWO))


async def test_the_last_good_answer_stays(site: tuple[Site, str]) -> None:
    server, url = site
    pipeline = Pipeline(url)
    async with running(pipeline) as fetcher:
        await fetcher.first(5.0, lambda: None)
        server.status = 500
        await net.until("a failure", lambda: bool(pipeline.found[url].error))
        assert pipeline.found[url].body == ONE
        server.status = 200
        await net.until("recovery", lambda: pipeline.found[url] == base.Fetched(ONE))


@pytest.mark.parametrize("body", ["<html>Back soon", "", "[]", "[" * 60_000])
async def test_what_is_no_answer_does_not_take_a_good_ones_place(
    site: tuple[Site, str], body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of somebody on the way, with status 200."""
    monkeypatch.setattr(fetching, "_FIRST_RETRY", 0.05)
    server, url = site
    pipeline = Pipeline(url)
    async with running(pipeline) as fetcher:
        await fetcher.first(5.0, lambda: None)
        server.body = body
        await net.until("a failure", lambda: bool(pipeline.found[url].error))
        assert pipeline.found[url] == base.Fetched(ONE, "the answer is not a JSON object")
        server.body = TWO
        await net.until("recovery", lambda: pipeline.found[url] == base.Fetched(TWO))


async def test_answers_are_bounded(site: tuple[Site, str]) -> None:
    server, url = site
    server.body = "x" * 2000
    pipeline = Pipeline(url)
    async with running(pipeline, max_bytes=1000) as fetcher:
        await fetcher.first(5.0, lambda: None)
    found = pipeline.found[url]
    assert (found.body, found.error) == ("", "the answer is longer than 1000 bytes")


async def test_nobody_answers() -> None:
    url = f"http://127.0.0.1:{net.free_port()}/"
    pipeline = Pipeline(url)
    async with running(pipeline) as fetcher:
        await fetcher.first(5.0, lambda: None)
        assert pipeline.found[url].error
        assert not pipeline.found[url].body


async def test_urls_come_and_go(site: tuple[Site, str]) -> None:
    server, url = site
    pipeline = Pipeline()
    async with running(pipeline):
        pipeline.want(url)
        await net.until("the answer", lambda: pipeline.found.get(url) == base.Fetched(ONE))
        pipeline.want()
        await net.until("its end", lambda: pipeline.found[url] is None)
        asked = server.asked
        await asyncio.sleep(0.2)
        assert server.asked == asked
