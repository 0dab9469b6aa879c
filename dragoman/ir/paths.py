"""An index of routes by path: which of many routes a path can take at all, without asking each.

`difference` puts thousands of requests to virtual hosts of thousands of routes; one by one that is the
product of both. Called by `match` where only the winner is wanted.
"""

from __future__ import annotations

from collections.abc import Sequence

from dragoman.ir import model as ir


class Index:
    """The routes of one virtual host. Regular expressions and plain string prefixes fit every path."""

    __slots__ = ("_exact", "_others", "_stems")

    def __init__(self, routes: Sequence[ir.Route]) -> None:
        self._exact: dict[str, list[int]] = {}
        self._stems: dict[str, list[int]] = {}
        self._others: list[int] = []
        for position, route in enumerate(routes):
            match route.match.path:
                case ir.ExactPath(value):
                    self._exact.setdefault(value, []).append(position)
                case ir.SegmentPrefix(value):
                    self._stems.setdefault(value.rstrip("/"), []).append(position)
                case _:
                    self._others.append(position)

    def candidates(self, path: str) -> list[int]:
        """Positions of the routes that `path` may take, in order. Costs its segments and what is found."""
        found = [*self._others, *self._exact.get(path, ()), *self._stems.get(path, ())]
        at = path.find("/")
        while at >= 0:
            found.extend(self._stems.get(path[:at], ()))
            at = path.find("/", at + 1)
        return sorted(found)
