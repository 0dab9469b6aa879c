"""Batches: at once when it is quiet, together when it is not, never half of one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

from dragoman import config
from dragoman.document import Document
from dragoman.graph.pipeline import Pipeline
from dragoman.refs import Ref
from dragoman.runtime.feed import Batch, Feed
from dragoman.sources.base import Update


class Recorder:
    """Stands where the pipeline does and writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def apply(self, update: Update) -> None:
        self.told.append([*(f"-{ref.name}" for ref in update.deletes), *(d.ref.name for d in update.upserts)])

    def knows(self, ref: Ref) -> bool:
        return ref.name == "known"

    def steps(self) -> Iterator[None]:
        yield
        self.told.append("commit")


def documents(*names: str) -> tuple[Document, ...]:
    return tuple(Document(Ref("", "Service", "shop", name), {}) for name in names)


def make(**settings: float) -> tuple[Feed, Recorder, list[Batch]]:
    recorder = Recorder()
    batches: list[Batch] = []
    return Feed(cast(Pipeline, recorder), config.Batch(**settings), batches.append), recorder, batches


async def test_one_change_is_one_commit() -> None:
    feed, recorder, batches = make()
    feed.offer(Update(documents("a")))
    await feed.work()
    assert recorder.told == [["a"], "commit"]
    assert len(batches) == 1


async def test_a_first_configuration_is_one_batch_whatever_its_parts() -> None:
    feed, recorder, batches = make()
    await feed.begin(iter([Update(documents("a", "known")), Update(documents("b"))]))
    assert recorder.told == [["a", "known"], ["b"]]
    await feed.work()
    assert recorder.told[2:] == ["commit"]
    (batch,) = batches
    assert [ref.name for ref in batch.changes] == ["a", "known", "b"]
    assert [ref.name for ref in batch.before] == ["known"]


async def test_an_empty_first_configuration_is_a_batch() -> None:
    feed, recorder, batches = make()
    await feed.begin(iter([]))
    await feed.work()
    assert (recorder.told, len(batches)) == (["commit"], 1)


async def test_nothing_to_do_is_no_batch() -> None:
    feed, recorder, batches = make()
    assert await feed.work() == 0.0
    assert (recorder.told, batches) == ([], [])


async def test_what_waits_together_is_committed_together_and_in_order() -> None:
    feed, recorder, batches = make()
    feed.offer(Update(documents("a")))
    feed.offer(Update((), (Ref("", "Service", "shop", "a"),)))
    feed.offer(Update(documents("a", "b")))
    await feed.work()
    assert recorder.told == [["a"], ["-a"], ["a", "b"], "commit"]
    assert [{ref.name: there for ref, there in batch.changes.items()} for batch in batches] == [
        {"a": True, "b": True}
    ]


async def test_a_long_batch_gives_the_loop_its_turn_and_is_one_commit() -> None:
    feed, recorder, _ = make(slice=0.0)
    names = [f"s{number:03}" for number in range(100)]
    feed.offer(Update(documents(*names)))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.ensure_future(other())
    await feed.work()
    beside.cancel()
    assert turns >= 3
    assert recorder.told.count("commit") == 1
    assert [name for told in recorder.told if told != "commit" for name in told] == names


async def test_a_new_group_in_the_middle_finishes_the_batch_first() -> None:
    feed, recorder, _ = make(slice=0.0)
    names = [f"s{number:03}" for number in range(100)]
    feed.offer(Update(documents(*names)))
    work = asyncio.ensure_future(feed.work())
    await asyncio.sleep(0)
    assert 0 < sum(map(len, recorder.told)) < 100
    feed.settle()
    assert recorder.told[-1] == "commit"
    assert sum(len(told) for told in recorder.told if told != "commit") == 100
    await work
    assert recorder.told.count("commit") == 1


async def test_run_takes_what_arrives_later() -> None:
    feed, recorder, batches = make(window=0.0)
    running = asyncio.ensure_future(feed.run())
    for name in ("a", "b"):
        feed.offer(Update(documents(name)))
        done = len(batches)
        while len(batches) == done:  # noqa: ASYNC110
            await asyncio.sleep(0)
    running.cancel()
    assert recorder.told == [["a"], "commit", ["b"], "commit"]
