"""Scripts in Redis for coroutines: one call, one answer.

Calls go out through one link (in a cluster one for each master), together with all others of the same turn of
the event loop. Nobody waits for a connection, but where a cluster has just named another server: without one,
or without an answer in time, a call fails at once or soon (`Unavailable`). A Redis that has lost the script
gets its text.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final, Protocol

import hiredis

from dragoman.redis import cluster, command, connection, link as links, single
from dragoman.redis.url import Target

_BETWEEN: Final = "TRYAGAIN"
"""A slot is on its way to another master, and some of the script's keys are here and some there."""
_START: Final = 2.0
"""Seconds that `start` waits for the first connection."""
_HOPS: Final = 5
"""How often a call is sent elsewhere, or anew, before it is given up."""


class Unavailable(Exception):  # noqa: N818 (an answer, not a mistake)
    """Redis gave no answer: `down`, `lost` (too late, or the connection broke) or `error`."""


class _Way(Protocol):
    """How a command is sent: a `Link`, or `cluster.Elsewhere`."""

    def send(self, command: bytes, receiver: connection.Receiver, token: Any = None) -> bool: ...


class Client:
    """`start`, `run` scripts, `stop`."""

    def __init__(self, target: Target, patience: float, scripts: Sequence[command.Script]) -> None:
        prepare = [script.load() for script in scripts]
        self._patience = patience
        kind = _Cluster if target.kind == "cluster" else _Single
        self._redis: _Cluster | _Single = kind(target, patience, prepare)

    async def start(self, wait: float = _START) -> None:
        """`wait`: seconds to wait for the first connection, whether or not there is one then."""
        await self._redis.start(wait)

    async def stop(self) -> None:
        await self._redis.stop()

    @property
    def up(self) -> bool:
        return self._redis.up

    @property
    def trouble(self) -> str:
        """Why there is no connection, in words; "" while there is one."""
        return self._redis.trouble

    async def run(
        self, script: command.Script, keys: Sequence[bytes], arguments: Sequence[bytes] = ()
    ) -> Any:
        """The script's answer. In a cluster all keys are to be in one slot. Raises `Unavailable`."""
        whole = False
        way: _Way | None = None
        for _ in range(_HOPS):
            way = way or self._redis.way(keys[0])
            answer = await self._ask(way, script.call(keys, arguments, whole=whole))
            if not isinstance(answer, hiredis.ReplyError):
                return answer
            if single.code(answer) == "NOSCRIPT" and not whole:
                whole = True
                continue
            way = there = self._redis.elsewhere(answer)
            if there is not None:
                await self._reach(there.link)
            elif single.code(answer) == _BETWEEN:
                await asyncio.sleep(self._patience / _HOPS)
            else:
                break
        raise Unavailable("error")

    async def _reach(self, link: links.Link) -> None:
        """A server of which a cluster has just spoken may have to be connected to first."""
        if not link.up:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._patience):
                    await link.ready()

    async def _ask(self, way: _Way | None, text: bytes) -> Any:
        reply = links.Reply()
        if way is None or not way.send(text, reply):
            self._redis.lost()
            raise Unavailable("down")
        answer = await reply.future
        if isinstance(answer, connection.Lost):
            self._redis.lost()
            raise Unavailable("lost")
        return answer


class _Single:
    """One server, or the master that Sentinel names."""

    def __init__(self, target: Target, patience: float, prepare: Sequence[bytes]) -> None:
        self._server = single.Single(target, patience, prepare)
        self.start = self._server.start
        self.stop = self._server.stop

    @property
    def up(self) -> bool:
        return self._server.up

    @property
    def trouble(self) -> str:
        return self._server.trouble

    def way(self, key: bytes) -> _Way | None:
        return self._server.link

    def elsewhere(self, answer: hiredis.ReplyError) -> cluster.Elsewhere | None:
        """Nowhere."""
        self._server.moved_on(answer)
        return None

    def lost(self) -> None:
        """There was no answer: the link sees to it itself."""


class _Cluster:
    """A cluster: a key's slot says which link."""

    def __init__(self, target: Target, patience: float, prepare: Sequence[bytes]) -> None:
        self._nodes = cluster.Cluster(target, patience, prepare)
        self.start = self._nodes.start
        self.stop = self._nodes.stop
        self.elsewhere = self._nodes.elsewhere
        self.lost = self._nodes.look

    @property
    def up(self) -> bool:
        return self._nodes.up

    @property
    def trouble(self) -> str:
        return "" if self.up else self._nodes.trouble

    def way(self, key: bytes) -> _Way | None:
        return self._nodes.link(cluster.slot(key))
