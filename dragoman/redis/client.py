"""Scripts in Redis for coroutines: one call, one answer.

Calls go out through one link, together with all others of the same turn of the event loop. Nobody waits for
a connection: without one, or without an answer in time, a call fails at once or soon (`Unavailable`). A Redis
that has lost the script gets its text. Clusters are not spoken with here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import hiredis

from dragoman.redis import command, connection, link as links, sentinel
from dragoman.redis.url import Address, Target

_MOVED_ON: Final = ("READONLY", "MASTERDOWN", "UNBLOCKED")
"""Errors of a server that is not the master any more."""
_START: Final = 2.0
"""Seconds that `start` waits for the first connection."""


class Unavailable(Exception):  # noqa: N818 (an answer, not a mistake)
    """Redis gave no answer: `down`, `lost` (too late, or the connection broke) or `error`."""


class Client:
    """`start`, `run` scripts, `stop`. Raises ValueError for a cluster."""

    def __init__(self, target: Target, patience: float, scripts: Sequence[command.Script]) -> None:
        if target.kind == "cluster":
            raise ValueError("keys are looked up in one Redis or through Sentinel, not in a cluster")
        self._target = target
        self._watch = sentinel.Watch(target) if target.kind == "sentinel" else None
        self._link = links.Link(
            self._watch.master if self._watch is not None else self._address,
            target,
            patience,
            [script.load() for script in scripts],
            master=self._watch is not None,
        )

    async def _address(self) -> Address:
        return self._target.addresses[0]

    async def start(self, wait: float = _START) -> None:
        """`wait`: seconds to wait for the first connection, whether or not there is one then."""
        await self._link.start(wait)
        if self._watch is not None:
            self._watch.start(self._link.drop)

    async def stop(self) -> None:
        if self._watch is not None:
            await self._watch.stop()
        await self._link.stop()

    @property
    def up(self) -> bool:
        return self._link.up

    @property
    def trouble(self) -> str:
        """Why there is no connection, in words; "" while there is one."""
        return self._link.trouble

    async def run(
        self, script: command.Script, keys: Sequence[bytes], arguments: Sequence[bytes] = ()
    ) -> Any:
        """The script's answer. Raises `Unavailable`."""
        answer = await self._ask(script.call(keys, arguments))
        if isinstance(answer, hiredis.ReplyError) and _code(answer) == "NOSCRIPT":
            answer = await self._ask(script.call(keys, arguments, whole=True))
        if isinstance(answer, hiredis.ReplyError):
            if _code(answer) in _MOVED_ON:
                self._link.drop()
            raise Unavailable("error")
        return answer

    async def _ask(self, text: bytes) -> Any:
        reply = links.Reply()
        if not self._link.send(text, reply):
            raise Unavailable("down")
        answer = await reply.future
        if isinstance(answer, connection.Lost):
            raise Unavailable("lost")
        return answer


def _code(failure: hiredis.ReplyError) -> str:
    return str(failure).split(" ", 1)[0]
