"""Views that streams share: built once, kept for a while, dropped."""

from __future__ import annotations

import asyncio
from typing import cast

from dragoman import resource
from dragoman.graph.pipeline import Pipeline
from dragoman.runtime.gauges import Counts
from dragoman.runtime.groups import Groups
from dragoman.telemetry.metrics import Metrics
from dragoman.xds.snapshot import View


class Recorder:
    def __init__(self) -> None:
        self.told: list[str] = []

    def activate(self, group: str) -> View:
        self.told.append(f"+{group}")
        return View()

    def deactivate(self, group: str) -> None:
        self.told.append(f"-{group}")


def make(grace: float) -> tuple[Groups, Recorder]:
    recorder = Recorder()
    groups = Groups(cast(Pipeline, recorder), grace, lambda: recorder.told.append("settle"))
    groups.ready.set()
    return groups, recorder


async def test_streams_of_a_group_share_one_view() -> None:
    groups, recorder = make(0)
    assert groups.acquire("*") is groups.acquire("*")
    assert dict(groups.uses) == {"*": 2}
    groups.release("*")
    assert recorder.told == ["settle", "+*"]
    groups.release("*")
    assert recorder.told == ["settle", "+*", "-*"]


async def test_a_proxy_that_comes_back_finds_its_view() -> None:
    groups, recorder = make(3600)
    view = groups.acquire("*")
    groups.release("*")
    assert dict(groups.uses) == {}
    assert groups.acquire("*") is view
    assert recorder.told == ["settle", "+*"]
    groups.close()


async def test_a_group_that_nobody_wants_is_dropped() -> None:
    groups, recorder = make(0.001)
    groups.acquire("*")
    groups.release("*")
    while recorder.told[-1] != "-*":  # noqa: ASYNC110
        await asyncio.sleep(0)
    groups.acquire("*")
    assert recorder.told == ["settle", "+*", "-*", "settle", "+*"]
    groups.close()


async def test_changes_are_counted_by_type() -> None:
    groups, _ = make(0)
    view = groups.acquire("*")
    view.apply({resource.ROUTE: {"a": resource.make(resource.ROUTE, "a", b"x"), "b": None}})
    assert dict(groups.take_changed()) == {"RDS": 1}
    assert dict(groups.take_changed()) == {}


async def test_a_dropped_group_leaves_no_series_behind() -> None:
    metrics = Metrics()
    counts = Counts(metrics)
    groups = Groups(cast(Pipeline, Recorder()), 0, lambda: None, counts.forget)
    groups.ready.set()
    start = metrics.text().count(b"group=")
    for round_ in range(2):
        for number in range(10):
            groups.acquire(name := f"shop/edge-{number}")
            for change in (1, -1):
                counts.streams("CDS", name, change)
            counts.pushed("CDS", name, 100)
            counts.ack("CDS", name)
            counts.nack("CDS", name)
            assert f'group="{name}",type="CDS"}} 1.0' in metrics.text().decode(), round_
            groups.release(name)
    assert metrics.text().count(b"group=") == start
