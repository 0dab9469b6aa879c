"""Values with stars: which of many patterns is the first to match a text, without trying each.

Patterns that end in their only star, as most do, are prefixes in a dictionary: a look for each length that
occurs. The others are RE2 sets, each of which looks at the text once for all its patterns. A set grows with
what its stars could stand for, so sets are small, and one that RE2 cannot build is halved. Called by `rules`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import re2

_MOST: Final = 64
"""Patterns in a set."""
_MEMORY: Final = 64 * 1024 * 1024
"""Bytes that a set may use at the most; RE2 takes what it needs."""


class Patterns:
    """`*` stands for any text, the empty one included."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._prefixes: dict[str, int] = {}
        others: list[tuple[int, str]] = []
        for index, text in enumerate(texts):
            if text.endswith("*") and "*" not in text[:-1]:
                self._prefixes.setdefault(text[:-1], index)
            else:
                others.append((index, text))
        self._lengths = sorted({len(prefix) for prefix in self._prefixes})
        self._sets = [
            made for begin in range(0, len(others), _MOST) for made in _sets(others[begin : begin + _MOST])
        ]

    def first(self, value: str) -> int:
        """The index of the first pattern that matches, -1 where none does."""
        found: int = -1
        for length in self._lengths:
            if length > len(value):
                break
            index = self._prefixes.get(value[:length], -1)
            if index >= 0 and (found < 0 or index < found):
                found = index
        for made, indices in self._sets:
            if 0 <= found < indices[0]:
                break
            if matched := made.Match(value):
                index = indices[int(min(matched))]
                return index if found < 0 else min(index, found)
        return found


def _sets(patterns: Sequence[tuple[int, str]]) -> list[tuple[Any, tuple[int, ...]]]:
    """RE2 sets with the indices of their patterns, in order."""
    options = re2.Options()
    options.max_mem = _MEMORY
    made = re2.Set.FullMatchSet(options)
    for _, text in patterns:
        made.Add("(?s)" + ".*".join(re2.escape(part) for part in text.split("*")))
    try:
        made.Compile()
    except re2.error:
        if len(patterns) == 1:
            raise
        middle = len(patterns) // 2
        return _sets(patterns[:middle]) + _sets(patterns[middle:])
    return [(made, tuple(index for index, _ in patterns))]
