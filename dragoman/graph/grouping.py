"""Derived collections of groups: `GroupBy` hands their members to a function, `SortedGroups` does so in an
order, and `Named` only knows which groups there are.

Which groups an item was in is asked again of its former value rather than kept: among 10,000 items that
would be most of what groups cost. Made by `collection.Graph`.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from dragoman.graph.derived import NOBODY, Change, Collection, Context, Derived

if TYPE_CHECKING:
    from dragoman.graph.collection import Graph

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
K2 = TypeVar("K2", bound=Hashable)
W = TypeVar("W")


class _Group(dict[Any, Any]):
    """The members of a group that has several, with their values."""

    __slots__ = ()


class GroupBy(Derived[K2, W], Generic[K, V, K2, W]):
    __slots__ = ("_group_of", "_members", "_over", "_reduce")

    def __init__(
        self,
        graph: Graph,
        name: str,
        over: Collection[K, V],
        group_of: Callable[[K, V], Iterable[K2]],
        reduce: Callable[[Context, K2, Mapping[K, V]], W | None],
    ) -> None:
        super().__init__(graph, name)
        self._over = over
        self._group_of = group_of
        self._reduce = reduce
        # group -> its one member's key, or several (_Group). Most have one.
        self._members: dict[Hashable, Any] = {}
        graph._depend(over, self)

    def _input_changed(self, changes: list[Change[Any, Any]]) -> None:
        # Membership follows the input at once; only the groups touched are reduced again. Which groups an
        # item was in is asked again rather than kept.
        dirty = self._dirty
        for key, old, new in changes:
            before = () if old is None else tuple(self._group_of(key, old))
            after = () if new is None else tuple(self._group_of(key, new))
            for group in before:
                if group not in after:
                    self._leave_group(group, key)
                    dirty[group] = None
            for group in after:
                self._enter_group(group, key, new)
                dirty[group] = None
        self._graph._wake(self)

    def _enter_group(self, group: Hashable, key: Any, value: Any) -> None:
        present = self._members.setdefault(group, key)
        if type(present) is _Group:
            present[key] = value
        elif present is not key and present != key:
            first = self._over._values.get(present)
            self._members[group] = _Group({key: value} if first is None else {present: first, key: value})

    def _leave_group(self, group: Hashable, key: Any) -> None:
        present = self._members.get(group, NOBODY)
        if type(present) is _Group:
            present.pop(key, None)
            if not present:
                del self._members[group]
        elif present is key or present == key:
            del self._members[group]

    def _compute(self, ctx: Context, key: Any) -> None:
        present = self._members.get(key, NOBODY)
        if type(present) is _Group:
            self._put(key, self._reduce(ctx, key, present))
            return
        value = None if present is NOBODY else self._over._values.get(present)
        self._put(key, None if value is None else self._reduce(ctx, key, {present: value}))


class Named(Derived[K2, bool], Generic[K2]):
    """Which groups have members. These are counted and not kept, and who comes or goes where others are is
    nobody's concern."""

    __slots__ = ("_more",)

    def __init__(
        self,
        graph: Graph,
        name: str,
        over: Iterable[tuple[Collection[Any, Any], Callable[[Any, Any], Iterable[K2]]]],
    ) -> None:
        super().__init__(graph, name)
        self._more: dict[K2, int] = {}  # members beyond the first, of groups that have more than one
        for collection, group_of in over:
            graph._depend(collection, Inlet(self, group_of))

    def _move(self, before: set[K2], after: set[K2]) -> None:
        """An item was in some groups and is in others now."""
        more = self._more
        for group in before - after:
            others = more.get(group, 0)
            if not others:
                self._put(group, None)
            elif others == 1:
                del more[group]
            else:
                more[group] = others - 1
        for group in after - before:
            if group in self._values:
                more[group] = more.get(group, 0) + 1
            else:
                self._put(group, True)


class Inlet:
    """One of the collections whose items `Named` counts."""

    __slots__ = ("_group_of", "_node")

    def __init__(self, node: Named[K2], group_of: Callable[[Any, Any], Iterable[K2]]) -> None:
        self._node: Named[Any] = node
        self._group_of = group_of

    @property
    def name(self) -> str:
        return self._node.name

    def _input_changed(self, changes: list[Change[Any, Any]]) -> None:
        group_of = self._group_of
        for key, old, new in changes:
            before = () if old is None else tuple(group_of(key, old))
            after = () if new is None else tuple(group_of(key, new))
            if before != after:
                self._node._move(set(before), set(after))


_FEW: Final = 4
"""Members of a sorted group up to which it is made anew for each change."""


class _Sorted(NamedTuple):
    """The members of a group that has many, in order."""

    keys: list[Any]
    values: list[Any]


class SortedGroups(Derived[K2, W], Generic[K, V, K2, W]):
    """Groups whose members stay sorted, so that one change among N costs a binary search and not a sort."""

    __slots__ = ("_group_of", "_members", "_order_of", "_over", "_reduce")

    def __init__(
        self,
        graph: Graph,
        name: str,
        over: Collection[K, V],
        group_of: Callable[[K, V], K2],
        order_of: Callable[[K, V], Any],
        reduce: Callable[[Context, K2, list[V]], W | None],
    ) -> None:
        super().__init__(graph, name)
        self._over = over
        self._group_of = group_of
        self._order_of = order_of
        self._reduce = reduce
        # group -> its members' keys, then their values, or many (_Sorted). Most have one or two, and lists
        # would be most of what they cost.
        self._members: dict[Hashable, tuple[Any, ...]] = {}
        graph._depend(over, self)

    def _input_changed(self, changes: list[Change[Any, Any]]) -> None:
        group: Hashable
        for key, old, new in changes:
            if old is not None:
                group = self._group_of(key, old)
                self._leave_group(group, key, old)
                self._dirty[group] = None
            if new is not None:
                group = self._group_of(key, new)
                self._enter_group(group, key, new)
                self._dirty[group] = None
        self._graph._wake(self)

    def _enter_group(self, group: Hashable, key: Any, value: V) -> None:
        present = self._members.get(group)
        if present is None:
            self._members[group] = key, value
            return
        keys, values = _taken_apart(present)
        at = self._place(keys, values, key, value)
        keys.insert(at, key)
        values.insert(at, value)
        if type(present) is not _Sorted:
            self._members[group] = (*keys, *values) if len(keys) <= _FEW else _Sorted(keys, values)

    def _leave_group(self, group: Hashable, key: Any, value: V) -> None:
        present = self._members[group]
        keys, values = _taken_apart(present)
        if len(keys) == 1:
            del self._members[group]
            return
        at = self._place(keys, values, key, value)
        del keys[at], values[at]
        if type(present) is not _Sorted:
            self._members[group] = (*keys, *values)

    def _place(self, keys: list[Any], values: list[V], key: Any, value: Any) -> int:
        """Where a member stands or belongs."""
        if not keys:
            return 0
        order = self._order_of

        def at(index: int) -> tuple[Any, Any]:
            return order(keys[index], values[index]), keys[index]

        return bisect.bisect_left(range(len(keys)), (order(key, value), key), key=at)

    def _compute(self, ctx: Context, key: Any) -> None:
        present = self._members.get(key)
        if present is None:
            self._put(key, None)
        else:
            self._put(key, self._reduce(ctx, key, _taken_apart(present)[1]))


def _taken_apart(members: tuple[Any, ...]) -> tuple[list[Any], list[Any]]:
    """Keys and values: those of many themselves."""
    if type(members) is _Sorted:
        return members
    half = len(members) // 2
    return list(members[:half]), list(members[half:])
