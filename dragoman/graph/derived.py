"""The collections that are made of others, and what all collections share.

`Derived` knows which keys to compute again and who reads what; the three kinds below it are the simple ones,
and `grouping` has those that put items together. `collection.Graph` makes all of them: nobody else does.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from dragoman.graph import reads as records

if TYPE_CHECKING:
    from dragoman.graph.collection import Graph

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
K2 = TypeVar("K2", bound=Hashable)
W = TypeVar("W")

_PIECE = 64
"""Transforms between two pieces of a commit: a few milliseconds."""


class Change(NamedTuple, Generic[K, V]):
    """`old` None: added. `new` None: removed."""

    key: K
    old: V | None
    new: V | None


class Collection(Generic[K, V]):
    """A keyed set of immutable values. Read with `get`, iterate with `items`; never written from
    outside."""

    __slots__ = ("_changed", "_graph", "_index", "_observers", "_readers", "_values", "name")

    def __init__(self, graph: Graph, name: str) -> None:
        self.name = name
        self._graph = graph
        self._values: dict[K, V] = {}
        self._changed: dict[K, V | None] = {}  # key -> value before this commit
        # node -> key read here -> the key there that read it, or several (records.Many). Most are read by one
        # key, and many by the same key, which is not kept here: the reader knows (`records.OWN`).
        self._readers: dict[Derived[Any, Any], dict[Hashable, Any]] = {}
        self._observers: list[Callable[[list[Change[K, V]]], None]] = []
        self._index = graph._register(self)

    def get(self, key: K) -> V | None:
        return self._values.get(key)

    def items(self) -> Iterable[tuple[K, V]]:
        return self._values.items()

    def keys(self) -> Iterable[K]:
        return self._values.keys()

    def values(self) -> Iterable[V]:
        return self._values.values()

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[K]:
        return iter(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def subscribe(self, observer: Callable[[list[Change[K, V]]], None]) -> None:
        """Calls `observer` at the end of each commit in which something here changed."""
        self._observers.append(observer)

    def _put(self, key: K, value: V | None) -> None:
        """Sets or removes; an equal value is no change."""
        old = self._values.get(key)
        if value is None:
            if old is None:
                return
            del self._values[key]
        else:
            if old is not None and (old is value or old == value):
                return
            self._values[key] = value
        changed = self._changed
        if key not in changed:
            if not changed:
                self._graph._wake(self)
            changed[key] = old
        elif changed[key] == value:
            # Changed and changed back within one commit: nothing happened.
            before = changed.pop(key)
            if before is not None:
                self._values[key] = before

    def _take_changes(self) -> list[Change[K, V]]:
        changed, self._changed = self._changed, {}
        value_of = self._values.get
        return [Change(key, old, new) for key, old in changed.items() if (new := value_of(key)) is not old]

    def _evaluate(self) -> Iterator[None]:
        """Brings a derived collection up to date, piece by piece; a source already is."""
        return iter(())

    def _publish(self) -> list[Change[K, V]]:
        """Marks whoever depends on what changed."""
        changes = self._take_changes()
        if changes:
            for node in self._graph._dependents.get(self._index, ()):
                node._input_changed(changes)
            for node, readers in self._readers.items():
                for change in changes:
                    key = change.key
                    reader: Any = readers.get(key, NOBODY)
                    if type(reader) is records.Many:
                        node._mark(node._present(reader, self, key))
                    elif reader is not NOBODY:
                        node._mark((reader,))
                    if node._does_read(key, self, records.OWN):
                        node._mark((key,))
        return changes


class Source(Collection[K, V]):
    """Filled from outside: `put` and `remove`, then `graph.commit()`."""

    __slots__ = ()

    def put(self, key: K, value: V) -> None:
        self._put(key, value)

    def remove(self, key: K) -> None:
        self._put(key, None)


class Context:
    """Handed to every transform: the only way to read another collection."""

    __slots__ = ("_reads",)

    def __init__(self) -> None:
        self._reads: list[Any] = []  # collection, key, collection, key ...: the compact form of pairs

    def fetch(self, collection: Collection[K, V], key: K) -> V | None:
        """The value under `key`, and a promise to run again when it changes."""
        reads = self._reads
        reads.append(collection)
        reads.append(key)
        return collection._values.get(key)

    def alike(self, key: Hashable) -> None:
        """What was fetched last has this very key, equal to that which was asked for: it is kept instead,
        because it is there anyway."""
        self._reads[-1] = key


NOBODY = object()


class Derived(Collection[K, V]):
    """What the derived collections share: dirty keys, and the record of fetches."""

    __slots__ = ("_dirty", "_patterns", "_reads", "runs")

    def __init__(self, graph: Graph, name: str) -> None:
        super().__init__(graph, name)
        self._dirty: dict[Hashable, None] = {}
        self._reads: dict[Hashable, tuple[Any, ...]] = {}  # as `records` has it
        self._patterns = records.Patterns()
        self.runs = 0  # transforms run so far: tests and metrics read it

    def _mark(self, keys: Iterable[Hashable]) -> None:
        for key in keys:
            self._dirty[key] = None
        self._graph._wake(self)

    def _input_changed(self, changes: list[Change[Any, Any]]) -> None:
        for change in changes:
            self._dirty[change.key] = None
        self._graph._wake(self)

    def _evaluate(self) -> Iterator[None]:
        dirty, self._dirty = self._dirty, {}
        self.runs += len(dirty)
        ctx = Context()
        compute, reads, known = self._compute, ctx._reads, self._reads
        for count, key in enumerate(dirty, 1):
            compute(ctx, key)
            if reads or key in known:
                self._record(key, reads)
                reads.clear()
            if not count % _PIECE:
                yield

    def _record(self, key: Hashable, flat: list[Any]) -> None:
        """Registers at what was read and leaves what no longer is."""
        before = self._reads.get(key)
        if before is not None and records.says(before, key, flat):
            return
        reads = self._made(key, flat, enter=before is None)
        if reads:
            self._reads[key] = reads
        elif before is not None:
            del self._reads[key]
        if before is None:
            return
        former, now = set(records.pairs(before)), set(records.pairs(reads))
        for collection, read in now - former:
            if read is not records.OWN:
                self._enter(collection._readers[self], read, key)
        for collection, read in former - now:
            if read is not records.OWN:
                self._leave(collection, read, key)

    def _made(self, key: Hashable, flat: list[Any], *, enter: bool) -> tuple[Any, ...]:
        """The record of what was read. `enter`: nothing of it is known, and all is registered."""
        pattern: list[Any] = []
        single: list[Any] = []
        for at in range(0, len(flat), 2):
            collection, read = flat[at], flat[at + 1]
            pattern.append(collection)
            for to in range(0, at, 2):
                if flat[to] is collection and (flat[to + 1] is read or flat[to + 1] == read):
                    pattern.append(pattern[to + 1])
                    break
            else:
                try:
                    readers = collection._readers[self]
                except KeyError:
                    readers = self._begin_to_read(collection)
                if read is key or read == key:
                    pattern.append(records.OWN)
                    continue
                present = readers.get(read, NOBODY)
                many = type(present) is records.Many
                if many and len(present) >= records.COMMON:
                    pattern.append(read)
                else:
                    place = next(
                        (place for place, one in enumerate(single) if one is read or one == read), None
                    )
                    if place is None:
                        place = len(single)
                        single.append(read)
                    pattern.append(records.slot(place + 1))
                if not enter:
                    continue
                if many:
                    present.append(key)
                else:
                    readers[read] = key if present is NOBODY else records.Many(present, key)
        shared: tuple[Any, ...] = self._patterns.of(pattern) if pattern else ()
        return (shared, *single) if single else shared

    def _begin_to_read(self, collection: Collection[Any, Any]) -> dict[Hashable, Any]:
        if collection._index >= self._index:
            raise RuntimeError(f"{self.name} fetches {collection.name}, which is made after it")
        readers = collection._readers[self] = {}
        return readers

    def _does_read(self, key: Hashable, collection: Collection[Any, Any], read: Hashable) -> bool:
        """Whether what is here under `key` has read what is there under `read`."""
        reads = self._reads.get(key)
        return reads is not None and any(
            other is collection and one == read for other, one in records.pairs(reads)
        )

    def _present(
        self, readers: records.Many, collection: Collection[Any, Any], read: Hashable
    ) -> Iterable[Hashable]:
        return readers.present(lambda one: self._does_read(one, collection, read))

    @staticmethod
    def _enter(readers: dict[Hashable, Any], read: Hashable, key: Hashable) -> None:
        present = readers.setdefault(read, key)
        if type(present) is records.Many:
            present.append(key)
        elif present is not key and present != key:
            readers[read] = records.Many(present, key)

    def _leave(self, collection: Collection[Any, Any], read: Hashable, key: Hashable) -> None:
        readers = collection._readers[self]
        present = readers[read]
        if type(present) is records.Many:
            present.leave(key, lambda one: self._does_read(one, collection, read))
            if present:
                return
        del readers[read]

    def _compute(self, ctx: Context, key: Any) -> None:
        raise NotImplementedError


class MapOne(Derived[K, W], Generic[K, V, W]):
    __slots__ = ("_fn", "_over")

    def __init__(
        self, graph: Graph, name: str, over: Collection[K, V], fn: Callable[[Context, K, V], W | None]
    ) -> None:
        super().__init__(graph, name)
        self._over = over
        self._fn = fn
        graph._depend(over, self)

    def _compute(self, ctx: Context, key: Any) -> None:
        value = self._over._values.get(key)
        self._put(key, None if value is None else self._fn(ctx, key, value))


class MapMany(Derived[K2, W], Generic[K, V, K2, W]):
    __slots__ = ("_fn", "_over", "_owned")

    def __init__(
        self,
        graph: Graph,
        name: str,
        over: Collection[K, V],
        fn: Callable[[Context, K, V], Iterable[tuple[K2, W]]],
    ) -> None:
        super().__init__(graph, name)
        self._over = over
        self._fn = fn
        self._owned: dict[K, tuple[K2, ...]] = {}
        graph._depend(over, self)

    def _compute(self, ctx: Context, key: Any) -> None:
        value = self._over._values.get(key)
        result = {} if value is None else dict(self._fn(ctx, key, value))
        before = self._owned.get(key, ())
        if result:
            self._owned[key] = tuple(result)
        elif before:
            del self._owned[key]
        for made in before:
            if made not in result:
                self._put(made, None)
        for made, item in result.items():
            self._put(made, item)


class Union(Derived[K, V], Generic[K, V]):
    __slots__ = ("_over",)

    def __init__(self, graph: Graph, name: str, over: tuple[Collection[K, V], ...]) -> None:
        super().__init__(graph, name)
        self._over = over
        for collection in over:
            graph._depend(collection, self)

    def _compute(self, ctx: Context, key: Any) -> None:
        self._put(key, next((c._values[key] for c in self._over if key in c._values), None))
