"""The configurations of discovered filters (ECDS): one per filter and group, made of the parts that routes
name.

A new part is sent before the route that names it, which the planner sees to. A part that no route names any
more lingers: routes that the proxies still have may name it, and a filter that does not find a part refuses
the request. So it goes a while after the last route that named it (`LINGER` seconds, far longer than any
proxy takes to follow), when `expire` is called.

A part may only name its content (`ir.KeySet`): then what lingers is the name, and the content is looked up,
so that a key that is taken away goes at once. Such filters are sharded: a key changes one of several
resources.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from dragoman.envoy.filters import chain
from dragoman.graph.collection import Change, Collection, Context, Graph, Source
from dragoman.graph.pipeline import binds
from dragoman.ir import model as ir
from dragoman.resource import Resource

LINGER: Final = 60.0
"""Seconds that a part stays after the last route that named it."""


class EntryKey(NamedTuple):
    """A part of a filter's configuration, as one group has it."""

    group: str
    filter: str
    part: Hashable


class Extensions:
    """Builds the collections; keeps parts for a while."""

    def __init__(
        self,
        graph: Graph,
        chains: Collection[binds.NameKey, ir.FilterChain],
        placed: Collection[Any, Any],
        contents: Collection[ir.Shard, ir.Content],
    ) -> None:
        self._lingering: Source[EntryKey, bool] = graph.source("filter parts that linger")
        self._until: dict[EntryKey, float] = {}
        self._left: list[EntryKey] = []
        named: Collection[EntryKey, bool] = graph.named(
            "filter parts",
            (placed, lambda key, part: [EntryKey(key.host.group, *demand) for demand in part.demands]),
        )
        self._named = named
        named.subscribe(self._note)
        parts: Collection[tuple[str, str], frozenset[Hashable]] = graph.group_by(
            "parts of filters",
            graph.union("filter parts served", named, self._lingering),
            lambda key, _: (key[:2],),
            lambda _, __, found: _served(found),
        )

        def content(ctx: Context, part: Hashable, shard: int | None) -> Iterable[Hashable]:
            if shard is None or not isinstance(part, ir.AnySet):
                return (part,)
            held = ctx.fetch(contents, ir.Shard(part, shard))
            return (held,) if held is not None else ()

        def encode(ctx: Context, key: tuple[str, str], _: bool) -> Resource:
            name, shard = chain.PLACES[key[1]]
            found: frozenset[Hashable] | None = ctx.fetch(parts, (key[0], name))
            told = [one for part in found or () for one in content(ctx, part, shard)]
            return chain.encode_shared(key[1], told)

        self.resources: Collection[tuple[str, str], Resource] = graph.map_one(
            "ECDS", graph.named("filters of groups", (chains, _names)), encode
        )

    def linger(self, now: float) -> bool:
        """Keeps the parts that the last commit let go; whether there are any. To be followed by a commit,
        before anything is handed on."""
        left, self._left = self._left, []
        for key in left:
            if key not in self._named:
                for other in [each for each in self._until if each != key and _slot(each) == _slot(key)]:
                    self._drop(other)
                self._until[key] = now + LINGER
                self._lingering.put(key, False)
        return bool(left)

    def expire(self, now: float) -> bool:
        """Lets go what has lingered long enough; whether there was anything."""
        over = [key for key, until in self._until.items() if until <= now]
        for key in over:
            self._drop(key)
        return bool(over)

    def _drop(self, key: EntryKey) -> None:
        del self._until[key]
        self._lingering.remove(key)

    def _note(self, changes: list[Change[EntryKey, bool]]) -> None:
        self._left += [change.key for change in changes if change.new is None]


def _served(found: Mapping[EntryKey, bool]) -> frozenset[Hashable]:
    """The parts that routes name, and those that linger (False), if nothing has come in their place."""
    taken = {_slot(key) for key, named in found.items() if named}
    return frozenset(key.part for key, named in found.items() if named or _slot(key) not in taken)


def _slot(key: EntryKey) -> tuple[str, str, Hashable]:
    return key.group, key.filter, chain.DISCOVERED[key.filter].slot(key.part)


def _names(key: binds.NameKey, found: ir.FilterChain) -> Iterable[tuple[str, str]]:
    """Every connection manager has every filter, with all its shards."""
    return [(key.port.group, name) for name in chain.NAMES] if found.stream is None else ()
