"""What limits do while their store does not answer: pass, deny, fail, or count here for a while.

Stands before a store that may fail. It says once that the store is away and once that it is back, and counts
what was decided without it. `local` limits count in this process, each instance for itself; told how many
instances there are, each takes its share, so that together they come near the limit.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final, Protocol

from dragoman.ratelimit import rules
from dragoman.ratelimit.algorithms import (
    Algorithm,
    Decision,
    LeakyBucket,
    TokenBucket,
    base as algorithms,
)
from dragoman.ratelimit.stores import base, memory
from dragoman.telemetry import logs

log = logging.getLogger(__name__)

QUIET: Final = 1.0
"""Seconds without a failure after which the store counts as back."""

OPENED: Final = Decision(True, 0, 0)
CLOSED: Final = Decision(False, 0, algorithms.SECOND, algorithms.SECOND)
FAILED: Final = Decision(False, 0, -1, -1)
"""Decisions without a count. They are recognised by identity. A second is when to come back."""


class Fallible(base.Store, Protocol):
    """A store that can say why it does not answer."""

    @property
    def trouble(self) -> str: ...


class Guard:
    """Implements `base.Store`; its decisions are never None. `without`: by mode, how many decisions were made
    without the store.
    """

    def __init__(self, store: Fallible, instances: int = 1, local: memory.Memory | None = None) -> None:
        self.without: Counter[rules.OnError] = Counter()
        self.away = False
        self._failed = 0.0
        self._store = store
        self._instances = instances
        self._local = memory.Memory() if local is None else local
        self._shares: dict[Algorithm, Algorithm] = {}

    async def start(self) -> None:
        await self._store.start()

    async def stop(self) -> None:
        await self._store.stop()

    def healthy(self) -> bool:
        return self._store.healthy()

    def take(self, asks: Sequence[base.Ask], done: base.Done) -> None:
        def judge(decisions: Sequence[Decision | None]) -> None:
            if None in decisions:
                decisions = self._judge(asks, decisions)
            elif self.away:
                self._is_back()
            done(decisions)

        self._store.take(asks, judge)

    def _is_back(self) -> None:
        """Says so when nothing has failed for a while: a part of a cluster may be away for long."""
        if time.monotonic() - self._failed >= QUIET:
            self.away = False
            log.info("the store of the rate limits answers again")

    def _judge(self, asks: Sequence[base.Ask], decisions: Sequence[Decision | None]) -> list[Decision | None]:
        self._failed = time.monotonic()
        if not self.away:
            self.away = True
            log.warning(
                "the store of the rate limits does not answer; limits do what they say for that case",
                extra=logs.fields(reason=self._store.trouble),
            )
        return [
            self._without(ask) if decision is None else decision
            for ask, decision in zip(asks, decisions, strict=True)
        ]

    def _without(self, ask: base.Ask) -> Decision | None:
        mode = ask.limit.on_error
        self.without[mode] += 1
        if mode is rules.OnError.OPEN:
            return OPENED
        if mode is rules.OnError.CLOSED:
            return CLOSED
        if mode is rules.OnError.FAIL:
            return FAILED
        found: list[Decision | None] = []
        here = base.Ask(ask.limit, self._share(ask.algorithm), ask.key, ask.hits)
        self._local.take([here], found.extend)
        return found[0]

    def _share(self, algorithm: Algorithm) -> Algorithm:
        """This instance's part of a limit, at least 1 where the limit is."""
        if self._instances == 1:
            return algorithm
        share = self._shares.get(algorithm)
        if share is None:
            share = dataclasses.replace(algorithm, limit=algorithms.ceiling(algorithm.limit, self._instances))
            if isinstance(share, TokenBucket | LeakyBucket):
                share = dataclasses.replace(share, burst=algorithms.ceiling(share.burst, self._instances))
            self._shares[algorithm] = share
        return share
