"""How it is kept what transforms have read: ten thousand keys of a collection read much the same.

A record of reads is a `Pattern`, flat: collection, key, collection, key ... in the order of the reads, and
behind it the keys that it leaves open. `OWN` in it stands for the reader's own key, a `Slot` for one of those
that follow; all others are read by many. So most records share their pattern, and where it leaves nothing
open the pattern is the record. The readers of one key are that reader, or `Many`. Made and read by `derived`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Final

COMMON: Final = 8
"""Readers that a key has at least before it stands in patterns."""
_KEPT: Final = 1024
_SHORT: Final = 16
"""Readers of which one is looked for and taken out at once."""

OWN: Final = object()
"""The reader's own key."""


class Pattern(tuple[Any, ...]):
    """Reads, with some keys left open."""

    __slots__ = ()


class Slot:
    """A key that a pattern leaves open, by its place in the record. There is one for each place, which equals
    no key."""

    __slots__ = ("place",)

    def __init__(self, place: int) -> None:
        self.place = place


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


class Patterns:
    """Those of one collection."""

    __slots__ = ("_known", "_last")

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], Pattern] = {}
        self._last = Pattern()

    def of(self, flat: list[Any]) -> Pattern:
        """The one that says this. Keys come in a row that have read alike, so that mostly it is the last one;
        to look it up is to hash all its keys."""
        made = Pattern(flat)
        if made != self._last:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._last = self._known.setdefault(made, made)
        return self._last


@functools.cache
def slot(place: int) -> Slot:
    return Slot(place)


def pattern_of(record: tuple[Any, ...]) -> tuple[Any, ...]:
    return record if type(record) is Pattern or not record else record[0]


def pairs(record: tuple[Any, ...]) -> Iterator[tuple[Any, Hashable]]:
    """(collection, key) for all that was read, `OWN` for the reader's own."""
    each = iter(pattern_of(record))
    for collection, key in zip(each, each, strict=True):
        yield collection, record[key.place] if type(key) is Slot else key


def says(record: tuple[Any, ...], key: Hashable, flat: list[Any]) -> bool:
    """Whether `key` has read just that again, in the same order. False does not mean that it has not."""
    pattern = pattern_of(record)
    if len(pattern) != len(flat):
        return False
    for at in range(0, len(flat), 2):
        known, read = pattern[at + 1], flat[at + 1]
        if known is OWN:
            known = key
        elif type(known) is Slot:
            known = record[known.place]
        if pattern[at] is not flat[at] or not (known is read or known == read):
            return False
    return True
