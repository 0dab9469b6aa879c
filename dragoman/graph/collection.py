"""Incremental collections: values derived from values, recomputed only where something changed.

The idea is that of Istio's krt. A `Source` is filled from outside; `map_one`, `map_many` and `group_by`
derive further collections from it. A transform is a pure function of its input and of what it reads
through `ctx.fetch(collection, key)`; each fetch is recorded, and when that key changes the transform runs
again. Collections are worked through in the order in which they were made, which is a topological order,
because a transform can only name collections that exist. A result equal to the previous one stops there.

Single-threaded and without I/O. `graph.commit()` costs what changed: transforms run, plus changed groups.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from dragoman.graph.derived import Change, Collection, Context, Derived, MapMany, MapOne, Source, Union
from dragoman.graph.grouping import GroupBy, Inlet, Named, SortedGroups

__all__ = ["Change", "Collection", "Context", "Graph", "Source"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
K2 = TypeVar("K2", bound=Hashable)
W = TypeVar("W")


class Graph:
    """Owns the collections and brings them up to date."""

    __slots__ = ("_awake", "_collections", "_dependents", "_work")

    def __init__(self) -> None:
        self._collections: list[Collection[Any, Any]] = []
        self._dependents: dict[int, list[Derived[Any, Any] | Inlet]] = {}
        self._awake: set[int] = set()
        self._work: Iterator[None] | None = None

    def source(self, name: str) -> Source[Any, Any]:
        """An empty source. Annotate the variable: `services: Source[Ref, Service] =
        graph.source("services")`."""
        return Source(self, name)

    def map_one(
        self, name: str, over: Collection[K, V], fn: Callable[[Context, K, V], W | None]
    ) -> Collection[K, W]:
        """One value per value, under the same key; None leaves it out."""
        return MapOne(self, name, over, fn)

    def map_many(
        self, name: str, over: Collection[K, V], fn: Callable[[Context, K, V], Iterable[tuple[K2, W]]]
    ) -> Collection[K2, W]:
        """Any number of keyed values per value. Keys of different inputs must not meet: put the input's
        key into them."""
        return MapMany(self, name, over, fn)

    def group_by(
        self,
        name: str,
        over: Collection[K, V],
        group_of: Callable[[K, V], Iterable[K2]],
        reduce: Callable[[Context, K2, Mapping[K, V]], W | None],
    ) -> Collection[K2, W]:
        """One value per group. `group_of` gives the groups of an item (none, one or several); `reduce`
        gets the live members, in no particular order, and must not keep the mapping."""
        return GroupBy(self, name, over, group_of, reduce)

    def named(
        self, name: str, *over: tuple[Collection[Any, Any], Callable[[Any, Any], Iterable[K2]]]
    ) -> Collection[K2, bool]:
        """True for each group that has members: of one collection or several, each with its own `group_of`.
        Costs less than `group_by`, and nothing where an item that changes stays in its groups."""
        return Named(self, name, over)

    def sorted_groups(
        self,
        name: str,
        over: Collection[K, V],
        group_of: Callable[[K, V], K2],
        order_of: Callable[[K, V], Any],
        reduce: Callable[[Context, K2, list[V]], W | None],
    ) -> Collection[K2, W]:
        """Like `group_by`, with one group per item and the members in order of `order_of` (ties: by key).
        `reduce` must not keep the list."""
        return SortedGroups(self, name, over, group_of, order_of, reduce)

    def union(self, name: str, *over: Collection[K, V]) -> Collection[K, V]:
        """All of several collections; where keys meet the first one wins."""
        return Union(self, name, over)

    def commit(self) -> None:
        """Brings everything up to date, then tells the observers."""
        for _ in self.steps():
            pass

    def steps(self) -> Iterator[None]:
        """`commit` in pieces, for who has other things to do between them. Until its end collections are
        partly of before and partly of after; a `commit` in between finishes what was begun.
        """
        if self._work is None:
            self._work = self._advance()
        return self._work

    def _advance(self) -> Iterator[None]:
        published: list[tuple[Collection[Any, Any], list[Change[Any, Any]]]] = []
        try:
            while self._awake:
                index = min(self._awake)
                self._awake.discard(index)
                collection = self._collections[index]
                yield from collection._evaluate()
                self._awake.discard(index)
                changes = collection._publish()
                if changes and collection._observers:
                    published.append((collection, changes))
        finally:
            self._work = None
        for collection, changes in published:
            for observer in collection._observers:
                observer(changes)

    @property
    def collections(self) -> tuple[Collection[Any, Any], ...]:
        """In the order in which they are worked through."""
        return tuple(self._collections)

    def edges(self) -> list[tuple[str, str]]:
        """Input -> derived, by name: the pipeline as a diagram (`docs/architecture.md`)."""
        return [
            (self._collections[i].name, node.name) for i, nodes in self._dependents.items() for node in nodes
        ]

    def _register(self, collection: Collection[Any, Any]) -> int:
        self._collections.append(collection)
        return len(self._collections) - 1

    def _depend(self, over: Collection[Any, Any], node: Derived[Any, Any] | Inlet) -> None:
        self._dependents.setdefault(over._index, []).append(node)
        # What has not been published yet comes with the next commit.
        there = {key: over._changed.get(key, value) for key, value in over._values.items()} | over._changed
        known = [Change(key, None, value) for key, value in there.items() if value is not None]
        if known:
            node._input_changed(known)

    def _wake(self, collection: Collection[Any, Any]) -> None:
        self._awake.add(collection._index)
