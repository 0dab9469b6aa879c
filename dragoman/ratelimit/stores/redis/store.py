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

import hiredis

from dragoman.ratelimit.algorithms import Decision
from dragoman.ratelimit.stores import base
from dragoman.ratelimit.stores.redis import scripts
from dragoman.redis import connection, link as links, sentinel
from dragoman.redis.url import Address, Target

log = logging.getLogger(__name__)

PATIENCE: Final = 0.05
"""Seconds that an answer may take. Envoy's own timeout has to be longer, or it decides first."""

PREFIX: Final = "dragoman:"

_MOVED_ON: Final = ("READONLY", "MASTERDOWN", "UNBLOCKED")
"""Errors of a server that is not the master any more."""

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

    def __init__(self, target: Target, patience: float, prefix: str) -> None:
        self.failures: Counter[str] = Counter()
        self._target = target
        self._patience = patience
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
        code = str(answer).split(" ", 1)[0] if isinstance(answer, hiredis.ReplyError) else "ANSWER"
        ask = batch.asks[index]
        if code == "NOSCRIPT":
            self._send(self._command(ask, whole=True), batch, index)
            return
        if code in _MOVED_ON and (link := self._link(ask)) is not None:
            link.drop()
        if not self.failures["error"]:
            log.warning("Redis refuses a rate limit's count: %s", code)
        self.fail("error", batch, index)


class Single(RedisStore):
    """Implements `base.Store` over one server; over Sentinel's master where the target is one."""

    def __init__(self, target: Target, patience: float = PATIENCE, prefix: str = PREFIX) -> None:
        super().__init__(target, patience, prefix)
        watched = target.kind == "sentinel"
        self._watch = sentinel.Watch(target) if watched else None
        self._only = links.Link(
            self._watch.master if self._watch is not None else self._address,
            target,
            patience,
            [script.load() for script in self._scripts],
            master=watched,
        )

    async def start(self) -> None:
        await self._only.start(_START)
        if self._watch is not None:
            self._watch.start(self._only.drop)

    async def stop(self) -> None:
        if self._watch is not None:
            await self._watch.stop()
        await self._only.stop()

    def healthy(self) -> bool:
        return self._only.up

    @property
    def trouble(self) -> str:
        """Why there are no decisions, in words."""
        return self._only.trouble or "Redis is too slow or refuses"

    async def _address(self) -> Address:
        return self._target.addresses[0]

    def _link(self, ask: base.Ask) -> links.Link | None:
        return self._only
