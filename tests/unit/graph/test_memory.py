"""What a pipeline holds on to: after groups and objects have come and gone, as much as before."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dragoman.document import Document
from dragoman.graph.pipeline import Pipeline
from dragoman.sources.base import Update
from dragoman.sources.files import Files

EXAMPLES = Path(__file__).parents[3] / "examples"
GROUPS = ("limits/*", "hello/*,limits/edge", "*,hello/edge")
PATTERNS = "Patterns._known"
"""A cache, which has a limit."""


def census(root: Any) -> collections.Counter[str]:
    """How many entries there are in all containers that are reached from `root`, by where they stand."""
    found: collections.Counter[str] = collections.Counter()
    seen: set[int] = set()
    rest = [(type(root).__name__, root)]
    while rest:
        place, item = rest.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, dict | list | set | frozenset):
            found[place] += len(item)
        rest += parts(place, item)
    return found


def parts(place: str, item: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(item, dict):
        item = tuple(item.values())
    if isinstance(item, list | set | frozenset | tuple):
        yield from ((f"{place}[]", each) for each in item)
    elif getattr(item, "__closure__", None):
        yield from ((f"{place}()", cell.cell_contents) for cell in item.__closure__)
    elif type(item).__module__.startswith("dragoman") and not dataclasses.is_dataclass(item):
        names = {name for each in type(item).__mro__ for name in getattr(each, "__slots__", ())}
        for name in names | vars(item).keys() if hasattr(item, "__dict__") else names:
            if hasattr(item, name):
                yield f"{type(item).__name__}.{name}", getattr(item, name)


def renamed(document: Document, mark: str) -> Document:
    name = f"{document.ref.name}-{mark}"
    body = {**document.body, "metadata": {**document.body["metadata"], "name": name}}
    return Document(document.ref._replace(name=name), body, document.locator)


class World:
    """All examples in one pipeline, whose clock the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pipeline = Pipeline(clock=lambda: self.now)
        folders = sorted(str(folder) for folder in EXAMPLES.iterdir() if folder.is_dir())
        self.documents = Files(folders).load().upserts
        self.put()
        self.pipeline.activate("*")

    def put(self, mark: str = "") -> None:
        found = tuple(renamed(each, mark) if mark else each for each in self.documents)
        self.pipeline.apply(Update(found))
        self.later()

    def remove(self, mark: str = "") -> None:
        refs = (renamed(each, mark).ref if mark else each.ref for each in self.documents)
        self.pipeline.apply(Update(deletes=tuple(refs)))
        self.later()

    def later(self) -> None:
        self.pipeline.commit()
        self.tidy()

    def tidy(self) -> None:
        """As the runtime does now and then."""
        self.now += 1000.0
        self.pipeline.expire()


def groups(world: World, _: int) -> None:
    """Proxies come and go, and no object changes."""
    for group in GROUPS:
        world.pipeline.activate(group)
        world.pipeline.deactivate(group)
    world.tidy()


def same(world: World, _: int) -> None:
    world.remove()
    world.put()


def others(world: World, number: int) -> None:
    """Each time under other names."""
    world.put(str(number))
    world.remove(str(number))


@pytest.mark.parametrize("churn", [groups, same, others])
def test_what_comes_and_goes_leaves_nothing_behind(churn: Any) -> None:
    world = World()
    for number in range(2):
        churn(world, number)
    before = census(world.pipeline)
    for number in range(2, 6):
        churn(world, number)
    after = census(world.pipeline)
    grown = {place: (before[place], after[place]) for place in after if after[place] > before[place]}
    grown.pop(PATTERNS, None)
    assert grown == {}
