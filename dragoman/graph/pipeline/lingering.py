"""Keys that stay for a while after their last user.

Envoy breaks off the calls of its filters that are under way to a cluster which is taken away, and a filter
that fails closed refuses their requests. So the clusters of services that are asked about requests stay for
`LINGER` seconds after the last route that asks them. Used by `limits` and `authz`; `extensions` has rules of
its own for parts of filters.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from dragoman.graph.collection import Change, Collection, Graph, Source

K = TypeVar("K", bound=Hashable)

LINGER: Final = 60.0


class Lingering(Generic[K]):
    """`keys`: those of `used`, and those that were among them not long ago."""

    def __init__(self, graph: Graph, name: str, used: Collection[K, bool]) -> None:
        self._used = used
        self._kept: Source[K, bool] = graph.source(f"{name} that linger")
        self._until: dict[K, float] = {}
        self._left: list[K] = []
        used.subscribe(self._note)
        self.keys: Collection[K, bool] = graph.union(name, used, self._kept)

    def linger(self, now: float) -> bool:
        """Keeps what the last commit let go; whether there is any. To be followed by a commit, before
        anything is handed on."""
        left, self._left = [key for key in self._left if key not in self._used], []
        for key in left:
            self._until[key] = now + LINGER
            self._kept.put(key, True)
        return bool(left)

    def expire(self, now: float) -> bool:
        """Lets go what has lingered long enough; whether there was anything."""
        over = [key for key, until in self._until.items() if until <= now]
        for key in over:
            del self._until[key]
            self._kept.remove(key)
        return bool(over)

    def _note(self, changes: list[Change[K, bool]]) -> None:
        self._left += [change.key for change in changes if change.new is None]
