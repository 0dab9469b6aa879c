"""Which route tables are cut into scopes (`envoy/shape.py` says how), and the way from one shape to the
other.

A table's size decides how it is cut (`scoping.Cut`), with a gap between growing and shrinking so that it does
not flap; wildcards are in every scope, so a table with many for its size stays whole, or has fewer scopes.
Sizes are known when the graph is up to date, so `settle` looks at those that changed after each commit, and
the few tables that take another shape are brought up to date once more, before anybody hears of them.

The shape of before stays for a while then, for the connections that Envoy drains: the whole table, marked as
spare, or the scopes that it was cut into. The planner sends what listeners look for before the listeners.
Called by `groups` and `pipeline`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from dragoman.envoy import scoping, shape
from dragoman.envoy.scoping import Cut
from dragoman.graph.collection import Change, Collection, Context, Graph, Source
from dragoman.ir import model as ir
from dragoman.resource import Resource

TableKey = tuple[str, ir.Scope]
"""Node group and table."""

BucketKey = tuple[str, ir.Scope, int]

ScopeKey = tuple[str, ir.Scope, Cut, int]

TABLES_LINGER: Final = 60.0
"""Seconds for which a whole table is kept beside its scopes. Envoy drains for ten minutes by default, but a
connection in use is sent away within the first of them, and this one grows."""

SCOPES_LINGER: Final = 600.0
"""The same for scopes, which cost little."""

FINE: Final = 4096
"""From how many host names on a table is cut into 1,024 scopes rather than 256, at 1 us more for each
request: where a scope of 256 has 16 of them on average, and a change of it comes to half a millisecond."""

_FREE: Final = 6
_MANY: Final = 16
COPIES: Final = 4
"""How many wildcards a table that is cut may have: as many as come to 4 copies for each host name. Into 256
scopes, 6 in any case, and up to 16 with 16 times as many host names: a change of one's routes is a change of
all scopes, and with more of them an average change would cost more than one of a whole table."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many host names a table has; `wildcards` of them are wildcards."""

    hosts: int
    wildcards: int


@dataclass(frozen=True, slots=True)
class Choice:
    """The shape of a table. `cut`: where listeners look; `kept`: what is there."""

    cut: Cut
    kept: frozenset[Cut]


WHOLE: Final = Choice(Cut.WHOLE, frozenset((Cut.WHOLE,)))


class Shapes:
    """Builds the collections and keeps the choices. `least`: from how many host names on tables are cut; 0:
    none is."""

    def __init__(self, graph: Graph, least: int) -> None:
        self._least = least
        self._chosen: Source[TableKey, Choice] = graph.source("shapes")
        self._until: dict[tuple[TableKey, Cut], float] = {}
        self._noted: dict[TableKey, Change[TableKey, Size]] = {}

    def of(self, ctx: Context, key: TableKey) -> Choice:
        """The shape of a table, for transforms."""
        return ctx.fetch(self._chosen, key) or WHOLE

    def scopes(
        self,
        graph: Graph,
        buckets: Collection[BucketKey, shape.BucketChunk],
        settings: Collection[TableKey, ir.TableSettings],
    ) -> Collection[ScopeKey, Resource]:
        """The scopes of all tables that have some; follows the tables' sizes from here on."""
        hosts = graph.map_one("sizes of buckets", buckets, lambda _, __, bucket: bucket.hosts)
        sizes: Collection[TableKey, Size] = graph.group_by(
            "sizes of tables", hosts, lambda key, _: (key[:2],), _size
        )
        sizes.subscribe(self._note)
        kept: Collection[ScopeKey, bool] = graph.map_many("scopes", self._chosen, _scopes)

        def encode(ctx: Context, key: ScopeKey, _: bool) -> Resource:
            group, table, cut, number = key
            numbers = (*scoping.folds(cut, number), shape.WILDCARDS)
            parts = [part for one in numbers if (part := ctx.fetch(buckets, (group, table, one))) is not None]
            found = ctx.fetch(settings, (group, table)) or ir.TableSettings()
            return shape.scoped_route_configuration(table, cut, number, parts, found)

        return graph.map_one("SRDS", kept, encode)

    def settle(self, now: float) -> bool:
        """Chooses anew for tables whose size the last commit changed; whether any got another shape. To be
        followed by a commit, before anything is handed on."""
        noted, self._noted = self._noted, {}
        changed = [self._choose(key, old, new, now) for key, old, new in noted.values()]
        return any(changed)

    def expire(self, now: float) -> bool:
        """Lets go the shapes that were kept for connections of before; whether there were any."""
        over = [kept for kept, until in self._until.items() if until <= now]
        for key, cut in over:
            del self._until[key, cut]
            current = self._current(key)
            self._put(key, replace(current, kept=current.kept - {cut}))
        return bool(over)

    def _current(self, key: TableKey) -> Choice:
        return self._chosen.get(key) or WHOLE

    def _put(self, key: TableKey, choice: Choice) -> None:
        if choice == WHOLE:
            self._chosen.remove(key)
        else:
            self._chosen.put(key, choice)

    def _choose(self, key: TableKey, old: Size | None, new: Size | None, now: float) -> bool:
        current = self._current(key)
        if new is None:
            for each in Cut:
                self._until.pop((key, each), None)
            self._put(key, WHOLE)
            return current != WHOLE
        cut = self._wanted(new, current.cut)
        if cut is current.cut:
            return False
        if old is None:  # nobody has it yet
            self._put(key, Choice(cut, frozenset((cut,))))
            return True
        self._until.pop((key, cut), None)
        self._until[key, current.cut] = now + (SCOPES_LINGER if current.cut else TABLES_LINGER)
        self._put(key, Choice(cut, current.kept | {cut}))
        return True

    def _wanted(self, size: Size, current: Cut) -> Cut:
        """How a table of this size is to be cut. One that is already stays so down to half of it."""
        if self._least:
            for cut, least in ((Cut.FINE, max(self._least, FINE)), (Cut.COARSE, self._least)):
                slack = 2 if current >= cut else 1
                if least <= size.hosts * slack and size.wildcards <= _affordable(size.hosts, cut) * slack:
                    return cut
        return Cut.WHOLE

    def _note(self, changes: list[Change[TableKey, Size]]) -> None:
        for change in changes:
            earlier = self._noted.get(change.key)
            self._noted[change.key] = change if earlier is None else change._replace(old=earlier.old)


def _size(_: Context, __: TableKey, found: Mapping[BucketKey, int]) -> Size:
    wild = [hosts for key, hosts in found.items() if key[2] == shape.WILDCARDS]
    return Size(sum(found.values()), sum(wild))


def _affordable(hosts: int, cut: Cut) -> float:
    """How many wildcards a table of so many host names may have."""
    copied = hosts * COPIES / len(cut.numbers)
    return copied if cut is Cut.FINE else max(_FREE, min(_MANY, hosts / _MANY), copied)


def _scopes(_: Context, key: TableKey, choice: Choice) -> Iterator[tuple[ScopeKey, bool]]:
    for cut in choice.kept:
        for number in cut.numbers:
            yield (*key, cut, number), True
