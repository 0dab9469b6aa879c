"""Which route tables are cut into scopes (`envoy/shape.py` says how), and the way from one shape to the
other.

A table's size decides, with a gap between growing and shrinking so that it does not flap; wildcards are in
every scope, so a table with many for its size stays whole. Sizes are known when the graph is up to date, so
`settle` looks at those that changed after each commit, and the few tables that take another shape are
brought up to date once more, before anybody hears of them.

Both shapes are there for a while then, for the connections that Envoy drains: after a table was cut, the
whole one is kept, marked as spare; after it was put together, the scopes. The planner sends what listeners
look for before the listeners. Called by `groups` and `pipeline`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from dragoman.envoy import scoping, shape
from dragoman.graph.collection import Change, Collection, Context, Graph, Source
from dragoman.ir import model as ir
from dragoman.resource import Resource

TableKey = tuple[str, ir.Scope]
"""Node group and table."""

BucketKey = tuple[str, ir.Scope, int]

TABLES_LINGER: Final = 60.0
"""Seconds for which a whole table is kept beside its scopes. Envoy drains for ten minutes by default, but a
connection in use is sent away within the first of them, and this one grows."""

SCOPES_LINGER: Final = 600.0
"""The same for scopes, which cost little."""

_FREE: Final = 6
_MANY: Final = 16
_COPIES: Final = 4
"""How many wildcards a table that is cut may have: 6 in any case; up to 16 with 16 times as many host names,
since a change of one's routes is a change of all scopes, and with more of them an average change would cost
more than one of a whole table; above that as many as come to 4 copies for each host name."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many host names a table has; `wildcards` of them are wildcards."""

    hosts: int
    wildcards: int


@dataclass(frozen=True, slots=True)
class Choice:
    """The shape of a table. `scoped`: where listeners look; the other two: what is there."""

    scoped: bool
    table: bool
    scopes: bool


WHOLE: Final = Choice(scoped=False, table=True, scopes=False)
_CUT: Final = Choice(scoped=True, table=False, scopes=True)


class Shapes:
    """Builds the collections and keeps the choices. `least`: from how many host names on tables are cut; 0:
    none is."""

    def __init__(self, graph: Graph, least: int) -> None:
        self._least = least
        self._chosen: Source[TableKey, Choice] = graph.source("shapes")
        self._until: dict[TableKey, float] = {}
        self._noted: dict[TableKey, Change[TableKey, Size]] = {}

    def of(self, ctx: Context, key: TableKey) -> Choice:
        """The shape of a table, for transforms."""
        return ctx.fetch(self._chosen, key) or WHOLE

    def scopes(
        self,
        graph: Graph,
        buckets: Collection[BucketKey, shape.BucketChunk],
        settings: Collection[TableKey, ir.TableSettings],
    ) -> Collection[BucketKey, Resource]:
        """The scopes of all tables that have some; follows the tables' sizes from here on."""
        hosts = graph.map_one("sizes of buckets", buckets, lambda _, __, bucket: bucket.hosts)
        sizes: Collection[TableKey, Size] = graph.group_by(
            "sizes of tables", hosts, lambda key, _: (key[:2],), _size
        )
        sizes.subscribe(self._note)
        cut: Collection[BucketKey, bool] = graph.map_many("scopes", self._chosen, _scopes)

        def encode(ctx: Context, key: BucketKey, _: bool) -> Resource:
            own = ctx.fetch(buckets, key)
            wildcards = ctx.fetch(buckets, (*key[:2], shape.WILDCARDS))
            found = ctx.fetch(settings, key[:2]) or ir.TableSettings()
            return shape.scoped_route_configuration(key[1], key[2], own, wildcards, found)

        return graph.map_one("SRDS", cut, encode)

    def settle(self, now: float) -> bool:
        """Chooses anew for tables whose size the last commit changed; whether any got another shape. To be
        followed by a commit, before anything is handed on."""
        noted, self._noted = self._noted, {}
        changed = [self._choose(key, old, new, now) for key, old, new in noted.values()]
        return any(changed)

    def expire(self, now: float) -> bool:
        """Lets go the shapes that were kept for connections of before; whether there were any."""
        over = [key for key, until in self._until.items() if until <= now]
        for key in over:
            del self._until[key]
            if self._current(key).scoped:
                self._chosen.put(key, _CUT)
            else:
                self._chosen.remove(key)
        return bool(over)

    def _current(self, key: TableKey) -> Choice:
        return self._chosen.get(key) or WHOLE

    def _choose(self, key: TableKey, old: Size | None, new: Size | None, now: float) -> bool:
        current = self._current(key)
        if new is None:
            self._until.pop(key, None)
            self._chosen.remove(key)
            return current != WHOLE
        cut = self._large(new, current.scoped)
        if cut == current.scoped:
            return False
        if old is None:  # nobody has it yet
            self._chosen.put(key, _CUT)
            return True
        self._until[key] = now + (TABLES_LINGER if cut else SCOPES_LINGER)
        self._chosen.put(key, Choice(scoped=cut, table=True, scopes=True))
        return True

    def _large(self, size: Size, cut: bool) -> bool:
        """Whether a table of this size is to be cut. One that is already stays so down to half of it."""
        slack = 2 if cut else 1
        affordable = max(_FREE, min(_MANY, size.hosts / _MANY), size.hosts * _COPIES / scoping.FOLDS)
        return 0 < self._least <= size.hosts * slack and size.wildcards <= affordable * slack

    def _note(self, changes: list[Change[TableKey, Size]]) -> None:
        for change in changes:
            earlier = self._noted.get(change.key)
            self._noted[change.key] = change if earlier is None else change._replace(old=earlier.old)


def _size(_: Context, __: TableKey, found: Mapping[BucketKey, int]) -> Size:
    wild = [hosts for key, hosts in found.items() if key[2] == shape.WILDCARDS]
    return Size(sum(found.values()), sum(wild))


def _scopes(_: Context, key: TableKey, choice: Choice) -> Iterator[tuple[BucketKey, bool]]:
    if choice.scopes:
        for number in range(scoping.FOLDS):
            yield (*key, number), True
