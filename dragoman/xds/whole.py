"""`Whole`: a view as a stream sees it whose proxy cannot fetch filter chains.

Listeners whose chains are resources of their own (`gateways.discovered_chains`) are in the view twice; such a
stream sees those with everything in them (`resource.WHOLE`), and no chains. These streams are state of the
world, which has no form for the removal of a chain; those of one type; those that may not have secrets, which
chains hold; and Envoys before 1.40, which know no such chains. The server wraps their views.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from dragoman.resource import CHAIN, LISTENER, WHOLE, Resource
from dragoman.xds.snapshot import fingerprint, version_of
from dragoman.xds.types import Changes, Node, ResourceView, Transitions

_OLDEST: Final = (1, 40)
_NOTHING: Final[Mapping[str, Resource]] = {}


def knows_chains(node: Node) -> bool:
    """Whether it is an Envoy that can fetch them, as far as it says what it is."""
    found = re.match(r"(\d+)\.(\d+)", node.version)
    return found is None or (int(found[1]), int(found[2])) >= _OLDEST


class Whole:
    """One stream's."""

    def __init__(self, view: ResourceView) -> None:
        self._view = view

    def get(self, type_url: str, name: str) -> Resource | None:
        if type_url == CHAIN:
            return None
        if type_url == LISTENER and (found := self._view.get(WHOLE, name)) is not None:
            return _listener(found)
        return self._view.get(type_url, name)

    def resources(self, type_url: str) -> Mapping[str, Resource]:
        if type_url == CHAIN:
            return _NOTHING
        found = self._view.resources(type_url)
        if type_url == LISTENER and (wholes := self._view.resources(WHOLE)):
            return {**found, **{name: _listener(item) for name, item in wholes.items()}}
        return found

    def version(self, type_url: str) -> str:
        if type_url == CHAIN:
            return version_of(0)
        if type_url == LISTENER and self._view.resources(WHOLE):
            return version_of(sum(map(fingerprint, self.resources(LISTENER).values())))
        return self._view.version(type_url)

    def subscribe(self, observer: Callable[[Changes], None]) -> Callable[[], None]:
        def passed(changes: Transitions) -> None:
            if seen := self._seen(changes):
                observer({t: {name: new for name, (_, new) in moved.items()} for t, moved in seen.items()})

        return self._view.follow(passed)

    def follow(self, observer: Callable[[Transitions], None]) -> Callable[[], None]:
        def passed(changes: Transitions) -> None:
            if seen := self._seen(changes):
                observer(seen)

        return self._view.follow(passed)

    def _seen(self, changes: Transitions) -> Transitions:
        if not changes.keys() & {CHAIN, WHOLE, LISTENER}:
            return changes
        seen = {t: moved for t, moved in changes.items() if t not in (CHAIN, WHOLE, LISTENER)}
        listeners, wholes = changes.get(LISTENER, {}), changes.get(WHOLE, {})
        found: dict[str, tuple[Resource | None, Resource | None]] = {}
        for name in {**listeners, **wholes}:
            there, whole = self._view.get(LISTENER, name), self._view.get(WHOLE, name)
            old, new = listeners.get(name, (there, there))
            whole_old, whole_new = wholes.get(name, (whole, whole))
            before = _listener(whole_old) if whole_old is not None else old
            after = _listener(whole_new) if whole_new is not None else new
            if before != after:
                found[name] = (before, after)
        if found:
            seen[LISTENER] = found
        return seen


def _listener(whole: Resource) -> Resource:
    return replace(whole, type_url=LISTENER)
