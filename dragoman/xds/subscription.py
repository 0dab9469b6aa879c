"""Which names one client wants of one type: rules 30 to 38, for both forms of the protocol.

Pure bookkeeping, called by `substream` for each request. A change of the subscription comes back as
`Interest`; what has to be sent for it is the caller's business.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from dragoman.resource import CLUSTER, GO_LIMITS, LIMITS, LISTENER, SCOPE

WILDCARD: Final = "*"

LEGACY_WILDCARD: Final = frozenset({CLUSTER, LISTENER, SCOPE, LIMITS, GO_LIMITS})
"""Types for which a first request without names means all of them (rule 35). The specification knows the
first two; Envoy asks for scopes in the same way, and envoyproxy/ratelimit for its limits."""


@dataclass(frozen=True, slots=True)
class Interest:
    """How a request changed the subscription. `added` and `dropped` are plain names; `widened` and `narrowed`
    tell of the wildcard."""

    added: frozenset[str] = frozenset()
    dropped: frozenset[str] = frozenset()
    widened: bool = False
    narrowed: bool = False


SAME: Final = Interest()


class Subscription:
    """Names and wildcard of one (stream, type). `in` says whether the client wants a name."""

    __slots__ = ("_explicit", "_legacy", "names", "wildcard")

    def __init__(self, *, legacy: bool) -> None:
        self.names: set[str] = set()
        self.wildcard = False
        self._legacy = legacy
        self._explicit = False

    def __contains__(self, name: str) -> bool:
        return self.wildcard or name in self.names

    def replace(self, requested: Iterable[str]) -> Interest:
        """State of the world: the request lists everything wanted.

        No names at all mean everything, until the client has once sent a name or `*`; from then on they mean
        nothing (rules 30, 32, 34).
        """
        wanted = set(requested)
        if wanted:
            self._explicit = True
            wildcard = WILDCARD in wanted
            wanted.discard(WILDCARD)
        else:
            wildcard = self._legacy and not self._explicit
        if wanted == self.names and wildcard == self.wildcard:
            return SAME
        interest = Interest(
            frozenset(wanted - self.names),
            frozenset(self.names - wanted),
            wildcard and not self.wildcard,
            self.wildcard and not wildcard,
        )
        self.names = wanted
        self.wildcard = wildcard
        return interest

    def update(self, subscribe: Iterable[str], unsubscribe: Iterable[str], *, first: bool) -> Interest:
        """Delta: names to add and names to take away.

        `added` holds every name of `subscribe`, also those subscribed already: the client may have dropped
        them (rule 43). Names that were never subscribed are no unsubscription (rule 49).
        """
        add = set(subscribe)
        drop = set(unsubscribe)
        widened = narrowed = False
        if add or drop:
            self._explicit = True
        if (WILDCARD in add or (first and not add and self._legacy)) and not self.wildcard:
            widened = self.wildcard = True
        add.discard(WILDCARD)
        self.names |= add
        if WILDCARD in drop and self.wildcard:
            self.wildcard = False
            narrowed, widened = not widened, False
        dropped = frozenset(drop & self.names)
        self.names -= dropped
        return Interest(frozenset(add - dropped), dropped, widened, narrowed)
