"""Counts in a Redis Cluster: each bucket at the master that has its slot (`redis.cluster`)."""

from __future__ import annotations

from typing import Any, Final

from dragoman.ratelimit.stores import base
from dragoman.ratelimit.stores.redis import store
from dragoman.redis import cluster, link as links
from dragoman.redis.url import Target

_HOPS: Final = 5
"""How often an ask of a request is sent elsewhere before it is given up."""
_START: Final = 2.0
"""Seconds that `start` waits for the map."""


class Cluster(store.RedisStore):
    """Implements `base.Store` over a cluster."""

    def __init__(self, target: Target, patience: float = store.PATIENCE, prefix: str = store.PREFIX) -> None:
        super().__init__(prefix)
        self.nodes = cluster.Cluster(target, patience, [script.load() for script in self._scripts])

    async def start(self) -> None:
        await self.nodes.start(_START)

    async def stop(self) -> None:
        await self.nodes.stop()

    def healthy(self) -> bool:
        return self.nodes.up

    @property
    def trouble(self) -> str:
        """Why there are no decisions, in words."""
        return self.nodes.trouble

    def _link(self, ask: base.Ask) -> links.Link | None:
        if ask.slot < 0:
            ask.slot = cluster.slot(self._prefix + ask.key)
        return self.nodes.link(ask.slot)

    def fail(self, kind: str, batch: store.Batch, index: int) -> None:
        if kind != "error":
            self.nodes.look()
        super().fail(kind, batch, index)

    def refused(self, batch: store.Batch, index: int, answer: Any) -> None:
        there = self.nodes.elsewhere(answer)
        if there is None or batch.hops >= _HOPS * len(batch.asks):
            super().refused(batch, index, answer)
            return
        batch.hops += 1
        if not there.send(batch.asks[index].command, batch, index):
            self.fail("down", batch, index)


def connect(
    target: Target, patience: float = store.PATIENCE, prefix: str = store.PREFIX
) -> Cluster | store.Single:
    """The store for a target."""
    kind = Cluster if target.kind == "cluster" else store.Single
    return kind(target, patience, prefix)
