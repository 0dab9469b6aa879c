"""How it is kept what transforms have read: ten thousand keys of a collection read much the same.

A record of reads is a flat tuple: collection, key, collection, key ... What many others have read as well
stands in a tuple of its own at its beginning (`Common`), which all of them share; as does what a transform
read under its own key, which is `OWN` there. Where that is all, it is the record. The readers of one key are
that reader, or `Many`. Made and read by `derived`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, Final

COMMON: Final = 8
"""Readers that a key has at least before reading it counts as common."""
_KEPT: Final = 1024
_SHORT: Final = 16
"""Readers of which one is looked for and taken out at once."""

NOTHING: Final[tuple[Any, ...]] = ()
OWN: Final = object()
"""The reader's own key."""


class Common(tuple[Any, ...]):
    """Reads that many share, flat like a record's own."""

    __slots__ = ()


class Many(list[Any]):
    """Several readers of one key, as a list: a set takes six to twelve times as much. Of a long one, readers
    are not taken out until they are half of it: `gone` counts them, and whoever reads it asks of each whether
    it still is a reader."""

    __slots__ = ("gone",)

    def __init__(self, *readers: Hashable) -> None:
        super().__init__(readers)
        self.gone = 0

    def leave(self, reader: Hashable, reads: Callable[[Hashable], bool]) -> None:
        """One reader less, of which `reads` is no longer true."""
        if not self.gone and len(self) <= _SHORT:
            self.remove(reader)
            return
        self.gone += 1
        if 2 * self.gone > len(self):
            self[:] = self.present(reads)
            self.gone = 0

    def present(self, reads: Callable[[Hashable], bool]) -> list[Any]:
        """Those that still are readers, each once."""
        return [one for one in dict.fromkeys(self) if reads(one)] if self.gone else self


class Shared:
    """The `Common`s of one collection."""

    __slots__ = ("_known", "_last")

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], Common] = {}
        self._last = Common()

    def of(self, flat: list[Any]) -> Common:
        """The one that says this. Keys come in a row that have read the same, so that mostly it is the last
        one; to look it up is to hash all its keys."""
        made = Common(flat)
        if made != self._last:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._last = self._known.setdefault(made, made)
        return self._last


def pairs(record: tuple[Any, ...]) -> Iterator[tuple[Any, Hashable]]:
    """(collection, key) for all that was read."""
    if type(record) is not Common and record and type(record[0]) is Common:
        yield from pairs(record[0])
        record = record[1:]
    each = iter(record)
    yield from zip(each, each, strict=True)
