"""From a NACK back to the objects that caused it.

A proxy names resources at best, and a route table holds many objects. What tells the culprit is the change:
each delivered change of a resource is remembered with the objects that were touched in the same commit, and
a NACK of that resource goes to the latest of them, unless the message names a route; of a scope, to those
of them that have routes in it. Clusters, endpoints and secrets lead back to their object by their own
names. Quarantine will hang on `Blame.add`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from dragoman.diagnostics import Diagnostic, Severity
from dragoman.envoy import naming
from dragoman.refs import Ref
from dragoman.resource import SCOPE, SHORT
from dragoman.xds.types import Changes, Rejection

_CULPRITS = 16
"""A commit that touched more objects than this says nothing about which of them is at fault."""


class Blame:
    """Who touched what last, and what proxies refuse at present."""

    def __init__(self, within: Callable[[str], Collection[Ref]] = lambda _: ()) -> None:
        """`within`: the objects that have routes in a scope, by its name."""
        self._within = within
        self._touched: dict[tuple[str, str], tuple[Ref, ...]] = {}
        self._standing: dict[tuple[str, str], tuple[tuple[Rejection, tuple[Ref, ...]], ...]] = {}

    def record(self, changes: Changes, touched: Sequence[Ref]) -> None:
        """A delivered change, and the objects whose documents came in with it."""
        culprits = tuple(dict.fromkeys(touched)) if len(touched) <= _CULPRITS else ()
        for type_url, named in changes.items():
            for name, item in named.items():
                if item is None:
                    self._touched.pop((type_url, name), None)
                elif culprits:
                    self._touched[type_url, name] = culprits

    def add(self, rejection: Rejection) -> tuple[Ref, ...]:
        """Remembers what a proxy refuses of a type until it says something else, or it is cleared; returns
        the objects behind it."""
        alike: dict[str, list[str]] = {}
        for name in rejection.names:
            alike.setdefault(rejection.words.get(name, rejection.detail), []).append(name)
        found = tuple(
            (one, self._behind(one))
            for words, names in alike.items()
            for one in (replace(rejection, names=tuple(names), detail=words, words={}),)
        )
        self._standing[rejection.node, rejection.type_url] = found
        return tuple(dict.fromkeys(ref for _, refs in found for ref in refs))

    def _behind(self, rejection: Rejection) -> tuple[Ref, ...]:
        """The objects behind what is refused in the same words."""
        found = dict.fromkeys(_named(rejection.detail))
        for name in rejection.names if not found else ():
            own = naming.refs_of(rejection.type_url, name)
            # Policies of a backend are not in its cluster's name: what was touched last may be one.
            touched = self._touched.get((rejection.type_url, name), ())
            if touched and rejection.type_url == SCOPE:
                within = self._within(name)
                touched = tuple(ref for ref in touched if ref in within) or touched
            found.update(dict.fromkeys((*own, *touched) if own and touched else own or touched))
        return tuple(found)

    def clear(self, node: str, type_url: str) -> None:
        self._standing.pop((node, type_url), None)

    def by_object(self) -> Mapping[Ref, Rejection]:
        return {ref: rejection for rejection, refs in self._each() for ref in refs}

    def diagnostics(self) -> Iterator[Diagnostic]:
        for rejection, refs in self._each():
            for ref in refs or (None,):
                yield Diagnostic(
                    "DRG4101",
                    f"Envoy {rejection.node} refused {SHORT.get(rejection.type_url, rejection.type_url)}"
                    f" {', '.join(rejection.names)}: {rejection.detail}",
                    ref,
                    ("spec",) if ref else (),
                    Severity.ERROR,
                    notes=("Envoy keeps what it had; a restarted Envoy would not load this",),
                )

    def _each(self) -> Iterator[tuple[Rejection, tuple[Ref, ...]]]:
        return itertools.chain.from_iterable(self._standing.values())


def _named(detail: str) -> Iterator[Ref]:
    """The objects whose routes a message mentions by name (`HTTPRoute/shop/cart/#0/1`)."""
    for name in re.findall(r"[A-Z][A-Za-z]*Route/[^\s'\",]+", detail):
        ref = naming.route_ref(name)
        if ref is not None:
            yield ref
