"""`Lazy`: a view as a stream sees it whose proxy fetches clusters on demand.

Lazy clusters (`Resource.lazy`) are not part of its wildcard until the stream was shown them: it named them,
or brought them along from an earlier stream, or had them when they became lazy. From then on they are
clusters like all others, changes and removals included. The server wraps the views of delta ADS streams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import xxhash

from dragoman.resource import CLUSTER, Resource
from dragoman.xds.snapshot import version_of
from dragoman.xds.types import Changes, ResourceView, Transitions
from dragoman.xds.wire import Request

_SALT: Final = 1
"""What keeps the versions of these views apart from those of the views behind them."""


class Lazy:
    """One stream's. `note` each request before the session hears of it."""

    def __init__(self, view: ResourceView) -> None:
        self._view = view
        self._shown: set[str] = set()
        self._total = _SALT
        self._begun = False

    def note(self, request: Request) -> None:
        """What the stream names or, in its first request for clusters, brings along (40), it is shown."""
        if request.type_url == CLUSTER:
            self.show(request.names)
            if not self._begun:
                self._begun = True
                self.show(request.versions)

    def show(self, names: Iterable[str]) -> None:
        """Names of clusters that the stream gets from now on, whether they are there or not."""
        for name in names:
            if name not in self._shown:
                self._shown.add(name)
                self._total += xxhash.xxh3_128_intdigest(name.encode())

    def get(self, type_url: str, name: str) -> Resource | None:
        found = self._view.get(type_url, name)
        return found if type_url != CLUSTER or found is None or self._sees(found) else None

    def resources(self, type_url: str) -> Mapping[str, Resource]:
        found = self._view.resources(type_url)
        if type_url != CLUSTER:
            return found
        return {name: item for name, item in found.items() if self._sees(item)}

    def version(self, type_url: str) -> str:
        """Of clusters it says what there is and what is shown: different for different content."""
        version = self._view.version(type_url)
        return version if type_url != CLUSTER else version_of(int(version, 16) + self._total)

    def subscribe(self, observer: Callable[[Changes], None]) -> Callable[[], None]:
        def passed(changes: Changes) -> None:
            seen = dict(changes)
            if CLUSTER in seen:
                named = seen[CLUSTER]
                seen[CLUSTER] = {n: item for n, item in named.items() if item is None or self._sees(item)}
            observer(seen)

        return self._view.subscribe(passed)

    def follow(self, observer: Callable[[Transitions], None]) -> Callable[[], None]:
        def passed(changes: Transitions) -> None:
            seen = dict(changes)
            if CLUSTER in seen:
                seen[CLUSTER] = self._clusters(seen[CLUSTER])
            observer(seen)

        return self._view.follow(passed)

    def _clusters(
        self, moved: Mapping[str, tuple[Resource | None, Resource | None]]
    ) -> dict[str, tuple[Resource | None, Resource | None]]:
        found: dict[str, tuple[Resource | None, Resource | None]] = {}
        for name, (old, new) in moved.items():
            if old is not None and self._sees(old):
                self.show((name,))  # what it has it keeps, though it may be lazy by now
            before = old if old is not None and self._sees(old) else None
            after = new if new is not None and self._sees(new) else None
            if before is not None or after is not None:
                found[name] = (before, after)
        return found

    def _sees(self, item: Resource) -> bool:
        return not item.lazy or item.name in self._shown
