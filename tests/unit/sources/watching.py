"""Follows a source in the background and waits for what it says. No test asserts on time.

`Follower.until` waits for a state of the world; `Follower.history` has every update since `load`, so that a
test can say what never happened in between.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from dragoman.diagnostics import Diagnostic
from dragoman.document import Document
from dragoman.refs import Ref
from dragoman.sources.base import Update
from dragoman.sources.files import Files

LONG = 30.0
"""Seconds after which something that has to happen has not."""


class Follower:
    """What a source has said so far, taken together."""

    def __init__(self, source: Files) -> None:
        self.source = source
        self.objects: dict[Ref, Document] = {}
        self.diagnostics: tuple[Diagnostic, ...] = ()
        self.history: list[Update] = []
        self._heard = asyncio.Event()
        self._take(source.load())
        self.history.clear()

    @property
    def names(self) -> set[str]:
        return {ref.name for ref in self.objects}

    @property
    def codes(self) -> list[str]:
        return [each.code for each in self.diagnostics]

    def port(self, name: str) -> int | None:
        """The first port of a Service."""
        for ref, document in self.objects.items():
            if ref.name == name:
                port: int = document.body["spec"]["ports"][0]["port"]
                return port
        return None

    def deleted(self) -> set[str]:
        """The names of everything that was deleted at any time."""
        return {ref.name for update in self.history for ref in update.deletes}

    def reported(self) -> set[str]:
        """All codes that were ever reported."""
        return {each.code for update in self.history for each in update.diagnostics}

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(LONG):
            while not condition():
                self._heard.clear()
                await self._heard.wait()

    async def until_names(self, *names: str) -> None:
        try:
            await self.until(lambda: self.names == set(names))
        except TimeoutError:
            raise AssertionError(f"{sorted(self.names)}, expected {sorted(names)}") from None

    async def follow(self) -> None:
        async for update in self.source.watch():
            self._take(update)

    def _take(self, update: Update) -> None:
        self.history.append(update)
        for ref in update.deletes:
            del self.objects[ref]
        self.objects.update((document.ref, document) for document in update.upserts)
        self.diagnostics = update.diagnostics
        self._heard.set()


@contextlib.asynccontextmanager
async def following(*paths: Path | str, poll: float | None = None) -> AsyncIterator[Follower]:
    """Loads, and watches until the end of the block. Changes within the block are heard by inotify."""
    follower = Follower(Files(paths, poll=poll))
    task = asyncio.create_task(follower.follow())
    await asyncio.sleep(0)  # up to where it waits: everything is watched from here on
    assert not task.done()
    try:
        yield follower
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def replace(path: Path, text: str) -> None:
    """As careful editors and deployments write: a new file, then moved over the old one."""
    new = path.with_name(f".{path.name}.tmp")
    new.write_text(text)
    new.rename(path)
