"""One Redis, or the master that Sentinel names: a link to wherever that is. `client` and the rate-limit
service's store send through it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import hiredis

from dragoman.redis import link as links, sentinel
from dragoman.redis.url import Address, Target

_MOVED_ON: Final = ("READONLY", "MASTERDOWN", "UNBLOCKED")
"""Errors of a server that is not the master any more."""


class Single:
    """`start`, send through `link`, leave a server that has `moved_on`, `stop`. `prepare` is sent over each
    new connection."""

    def __init__(self, target: Target, patience: float, prepare: Iterable[bytes] = ()) -> None:
        self._target = target
        self._watch = sentinel.Watch(target) if target.kind == "sentinel" else None
        find = self._watch.master if self._watch is not None else self._address
        self.link = links.Link(find, target, patience, prepare, master=self._watch is not None)

    async def _address(self) -> Address:
        return self._target.addresses[0]

    async def start(self, wait: float) -> None:
        """`wait`: seconds to wait for the first connection, whether or not there is one then."""
        await self.link.start(wait)
        if self._watch is not None:
            self._watch.start(self.link.drop)

    async def stop(self) -> None:
        if self._watch is not None:
            await self._watch.stop()
        await self.link.stop()

    @property
    def up(self) -> bool:
        return self.link.up

    @property
    def trouble(self) -> str:
        """Why there is no connection, in words; "" while there is one."""
        return self.link.trouble

    def moved_on(self, answer: Any) -> None:
        """Looks for the master anew, if the answer says that this is not one any more."""
        if code(answer) in _MOVED_ON:
            self.link.drop()


def code(answer: Any) -> str:
    """The first word of an answer that is an error; "" for another."""
    return str(answer).split(" ", 1)[0] if isinstance(answer, hiredis.ReplyError) else ""
