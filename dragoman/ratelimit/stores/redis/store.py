"""Counts in one Redis, or in the master that Sentinel names. `connect` makes the store for a URL.

One `EVALSHA` for each bucket; a Redis that has lost the scripts gets the text. What Redis refuses is no
decision (None): a replica that was a master a moment ago, a Redis that loads its file, a script that a right
was taken from.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from dragoman.ratelimit.algorithms import Decision
from dragoman.ratelimit.stores import base
from dragoman.ratelimit.stores.redis import scripts
from dragoman.redis import connection, link as links, single
from dragoman.redis.url import Target

log = logging.getLogger(__name__)

PATIENCE: Final = 0.05
"""Seconds that an answer may take. Envoy's own timeout has to be longer, or it decides first."""

PREFIX: Final = "dragoman:"

_START: Final = 2.0
"""Seconds that `start` waits for the first connection."""


class Batch:
    """The asks of one request, on their way. Receives their answers (token: the ask's index)."""

    __slots__ = ("_decisions", "_done", "_left", "_store", "asks", "hops")

    def __init__(self, store: RedisStore, asks: Sequence[base.Ask], done: base.Done) -> None:
        self.asks = asks
        self.hops = 0
        self._store = store
        self._done = done
        self._decisions: list[Decision | None] = [None] * len(asks)
        self._left = len(asks)

    def settle(self, index: int, decision: Decision | None) -> None:
        self._decisions[index] = decision
        self._left -= 1
        if not self._left:
            self._done(self._decisions)

    def receive(self, token: int, answer: Any) -> None:
        if type(answer) is list:
            ask = self.asks[token]
            self.settle(token, scripts.read(ask.algorithm, ask.hits, answer))
        else:
            self._store.refused(self, token, answer)


class RedisStore:
    """What both kinds of store share: commands, and what to do with answers that are errors.

    `failures`: by kind, how many asks got no decision.
    """

    def __init__(self, prefix: str) -> None:
        self.failures: Counter[str] = Counter()
        self._prefix = prefix.encode()
        self._scripts = scripts.Scripts()

    def take(self, asks: Sequence[base.Ask], done: base.Done) -> None:
        batch = Batch(self, asks, done)
        for index, ask in enumerate(asks):
            if not ask.command:
                ask.command = self._command(ask)
            self._send(ask.command, batch, index)

    def _command(self, ask: base.Ask, *, whole: bool = False) -> bytes:
        script = self._scripts.of(ask.algorithm)
        return script.call([self._prefix + ask.key], scripts.arguments(ask.algorithm, ask.hits), whole=whole)

    def _link(self, ask: base.Ask) -> links.Link | None:
        """Where the ask's key lives."""
        raise NotImplementedError

    def _send(self, command: bytes, batch: Batch, index: int) -> None:
        link = self._link(batch.asks[index])
        if link is None or not link.send(command, batch, index):
            self.fail("down", batch, index)

    def fail(self, kind: str, batch: Batch, index: int) -> None:
        self.failures[kind] += 1
        batch.settle(index, None)

    def refused(self, batch: Batch, index: int, answer: Any) -> None:
        """An answer that is no decision."""
        if isinstance(answer, connection.Lost):
            self.fail("lost", batch, index)
            return
        code = single.code(answer) or "ANSWER"
        if code == "NOSCRIPT":
            self._send(self._command(batch.asks[index], whole=True), batch, index)
            return
        if not self.failures["error"]:
            log.warning("Redis refuses a rate limit's count: %s", code)
        self.fail("error", batch, index)


class Single(RedisStore):
    """Implements `base.Store` over one server; over Sentinel's master where the target is one."""

    def __init__(self, target: Target, patience: float = PATIENCE, prefix: str = PREFIX) -> None:
        super().__init__(prefix)
        self._server = single.Single(target, patience, [script.load() for script in self._scripts])

    async def start(self) -> None:
        await self._server.start(_START)

    async def stop(self) -> None:
        await self._server.stop()

    def healthy(self) -> bool:
        return self._server.up

    @property
    def trouble(self) -> str:
        """Why there are no decisions, in words."""
        return self._server.trouble or "Redis is too slow or refuses"

    def _link(self, ask: base.Ask) -> links.Link | None:
        return self._server.link

    def refused(self, batch: Batch, index: int, answer: Any) -> None:
        self._server.moved_on(answer)
        super().refused(batch, index, answer)
