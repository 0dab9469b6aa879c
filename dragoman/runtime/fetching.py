"""What objects refer to by URL, fetched: the keys of token issuers, and the descriptions that say where
these are.

One task per URL. The last good answer stays when a later try fails, so an issuer that is down locks nobody
out; a failed try is repeated soon, a good one after `interval`. All of it is JSON objects: the page of
somebody on the way, who says that the issuer is down, is no good answer. Answers are bounded in time and
size, and are never logged.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Final

import aiohttp

from dragoman import config
from dragoman.graph.pipeline import Pipeline
from dragoman.telemetry.logs import fields
from dragoman.translators import base

log = logging.getLogger(__name__)

_FIRST_RETRY: Final = 1.0
_LAST_RETRY: Final = 60.0
_REDIRECTS: Final = 3

Nudge = Callable[[Callable[[], None]], None]
"""Takes a change of what is in no document, to be made within the next batch."""


class Fetcher:
    """`run` works until cancelled; `first` waits for the first answers."""

    def __init__(self, pipeline: Pipeline, nudge: Nudge, settings: config.Fetching) -> None:
        self._pipeline = pipeline
        self._nudge = nudge
        self._settings = settings
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._known: dict[str, base.Fetched] = {}
        self._changed = asyncio.Event()
        self._answered = asyncio.Event()
        pipeline.follow_wanted(self._changed.set)

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as tasks:
            while True:
                self._changed.clear()
                wanted = set(self._pipeline.wanted)
                for url in self._tasks.keys() - wanted:
                    self._tasks.pop(url).cancel()
                    self._known.pop(url, None)
                    self._put(url, None)
                for url in wanted - self._tasks.keys():
                    self._tasks[url] = tasks.create_task(self._follow(session, url))
                await self._changed.wait()

    async def first(self, patience: float, settle: Callable[[], None]) -> None:
        """Waits until every URL that is wanted has answered or failed once, at most `patience` seconds. An
        answer may name a further one: `settle` finishes the batch that takes it in."""
        try:
            async with asyncio.timeout(patience):
                while set(self._pipeline.wanted) - self._known.keys():
                    self._answered.clear()
                    await self._answered.wait()
                    settle()
        except TimeoutError:
            pass

    async def _follow(self, session: aiohttp.ClientSession, url: str) -> None:
        """Fetches one URL again and again."""
        pause = _FIRST_RETRY
        while True:
            before = self._known.get(url, base.Fetched())
            try:
                found = base.Fetched(await self._get(session, url))
            except (aiohttp.ClientError, TimeoutError, ValueError) as failure:
                why = str(failure) or type(failure).__name__
                found = base.Fetched(before.body, why)
                if why != before.error:
                    log.warning("cannot fetch %s", url, extra=fields(why=why, kept=bool(before.body)))
            if found != before or url not in self._known:
                self._known[url] = found
                self._put(url, found)
            if found.error:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LAST_RETRY)
            else:
                pause = _FIRST_RETRY
                await asyncio.sleep(self._settings.interval)

    async def _get(self, session: aiohttp.ClientSession, url: str) -> str:
        async with session.get(url, max_redirects=_REDIRECTS) as answer:
            answer.raise_for_status()
            if url.startswith("https://") and answer.url.scheme != "https":
                raise ValueError("it redirects from https to http")
            body = await answer.content.read(self._settings.max_bytes + 1)
            while len(body) <= self._settings.max_bytes and (more := await answer.content.readany()):
                body += more
            if len(body) > self._settings.max_bytes:
                raise ValueError(f"the answer is longer than {self._settings.max_bytes} bytes")
            text = body.decode()
            if not _is_object(text):
                raise ValueError("the answer is not a JSON object")
            return text

    def _put(self, url: str, found: base.Fetched | None) -> None:
        def change() -> None:
            self._pipeline.put_fetched(url, found)
            self._answered.set()

        self._nudge(change)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
