"""Takes changes from sources into the pipeline, in batches.

The first change of a quiet time is worked on at once. What arrives while a batch is in work becomes the next
batch; after a batch the feed rests for as long as the batch took (`batch.window` at most), so that under
constant change half of the time is left for the streams. A batch longer than `batch.slice` gives the event
loop its turn between documents, and a stream that needs a new group meanwhile gets the batch finished first:
nobody sees half of one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from dragoman import config
from dragoman.graph.pipeline import Pipeline
from dragoman.refs import Ref
from dragoman.sources.base import Update

_PIECE: Final = 32
"""Documents between two looks at the clock (a document costs some 50 us)."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What went in at once, and what it cost in seconds: `total` from its first change in hand, `build` of
    CPU.
    """

    changes: Mapping[Ref, bool]
    """Object -> whether it is there (True) or gone, the last word of each."""
    before: frozenset[Ref]
    """Those of them that were there before."""
    total: float
    build: float


class Feed:
    """`offer` may be called at any time; `run` works until cancelled; `applied` hears of every batch."""

    def __init__(self, pipeline: Pipeline, settings: config.Batch, applied: Callable[[Batch], None]) -> None:
        self._pipeline = pipeline
        self._settings = settings
        self._applied = applied
        self._waiting: list[Update] = []
        self._nudges: list[Callable[[], None]] = []
        self._since = 0.0
        self._changes: dict[Ref, bool] = {}
        self._before: set[Ref] = set()
        self._arrived = asyncio.Event()
        self._open: Iterator[None] | None = None

    async def begin(self, pieces: Iterable[Update]) -> None:
        """Takes a first configuration in while it is read, so that it is not there as plain data as a whole.
        The next batch makes everything of it."""
        self.nudge(lambda: None)  # it is a batch even if it is empty
        for update in pieces:
            self._note(update)
            for _ in self._taken(update):
                await asyncio.sleep(0)

    def offer(self, update: Update) -> None:
        """Takes a change. Returns at once."""
        if not self._waiting and not self._nudges:
            self._since = time.perf_counter()
        self._waiting.append(update)
        self._arrived.set()

    def nudge(self, change: Callable[[], None]) -> None:
        """Takes a change of what is in no document: `change` is called within the next batch."""
        if not self._waiting and not self._nudges:
            self._since = time.perf_counter()
        self._nudges.append(change)
        self._arrived.set()

    async def run(self) -> None:
        while True:
            await self._arrived.wait()
            took = await self.work()
            # Streams first: what has just been built is sent before anything else is begun.
            await asyncio.sleep(min(took, self._settings.window))

    async def work(self) -> float:
        """Applies what waits, if anything, as one batch. Returns the CPU seconds that it took."""
        self._arrived.clear()
        updates, self._waiting = self._waiting, []
        nudges, self._nudges = self._nudges, []
        if not updates and not nudges:
            return 0.0
        for update in updates:
            self._note(update)
        changes, self._changes = self._changes, {}
        before, self._before = frozenset(self._before), set()
        since = self._since
        spent = 0.0
        begun = time.perf_counter()
        steps = self._open = self._steps(updates, nudges)
        for _ in steps:
            now = time.perf_counter()
            if now - begun > self._settings.slice:
                spent += now - begun
                await asyncio.sleep(0)
                begun = time.perf_counter()
        self.settle()
        now = time.perf_counter()
        spent += now - begun
        self._applied(Batch(changes, before, now - since, spent))
        return spent

    def settle(self) -> None:
        """Finishes the batch in work, if there is one."""
        if self._open is None:
            return
        for _ in self._open:
            pass
        self._open = None

    def _steps(self, updates: list[Update], nudges: list[Callable[[], None]]) -> Iterator[None]:
        """Uses `updates` up: what has been decoded is let go before all the rest is made of it."""
        for change in nudges:
            change()
        updates.reverse()
        while updates:
            yield from self._taken(updates.pop())
        yield from self._pipeline.steps()

    def _taken(self, update: Update) -> Iterator[None]:
        if len(update.upserts) <= _PIECE:
            self._pipeline.apply(update)
            yield
            return
        self._pipeline.apply(Update((), update.deletes, update.diagnostics))
        for at in range(0, len(update.upserts), _PIECE):
            self._pipeline.apply(Update(update.upserts[at : at + _PIECE], (), update.diagnostics))
            yield

    def _note(self, update: Update) -> None:
        """Notes what changes, before it does."""
        noted, knows = self._changes, self._pipeline.knows
        said = [(ref, False) for ref in update.deletes]
        said += [(one.ref, True) for one in update.upserts]
        for ref, there in said:
            if ref not in noted and knows(ref):
                self._before.add(ref)
            noted[ref] = there
