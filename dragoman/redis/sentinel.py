"""Sentinel: who is the master, and whether it still is.

`master` asks one Sentinel after the other. `start` keeps asking in the background: a master that lives on
after Sentinel has made another one would go on counting for us alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from dragoman.redis import connection, link as links
from dragoman.redis.url import Address, Target

_PATIENCE: Final = 0.5
"""Seconds that a Sentinel may take."""
_INTERVAL: Final = 1.0
"""Seconds between two looks at who is the master."""


class Watch:
    """`target.addresses` are the Sentinels, `target.master` the name that they know the master by."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._sentinels = list(target.addresses)
        self._current: Address | None = None
        self._task: asyncio.Task[None] | None = None

    async def master(self) -> Address:
        """The master's address. Raises `link.Refused` where no Sentinel knows it."""
        trouble = "no Sentinel answers"
        for sentinel in list(self._sentinels):
            try:
                async with asyncio.timeout(_PATIENCE):
                    found = await self._ask(sentinel)
            except (OSError, connection.Lost, links.Refused) as failure:
                trouble = f"Sentinel {sentinel}: {links.describe(failure)}"
                continue
            # Who has answered is asked first the next time.
            self._sentinels.remove(sentinel)
            self._sentinels.insert(0, sentinel)
            self._current = found
            return found
        raise links.Refused(trouble)

    async def _ask(self, sentinel: Address) -> Address:
        talk = await links.open_connection(sentinel, self._target, _PATIENCE)
        try:
            if self._target.sentinel_password:
                await links.log_in(talk, "", self._target.sentinel_password)
            name = self._target.master.encode()
            found = await links.demand(talk, b"SENTINEL", b"get-master-addr-by-name", name)
        finally:
            talk.close()
        if not found:
            raise links.Refused(f"knows no master `{self._target.master}`")
        return Address(found[0].decode(), int(found[1]))

    def start(self, changed: Callable[[], None]) -> None:
        """Calls `changed` when the master is another one than `master` has said."""
        self._task = asyncio.create_task(self._look(changed))

    async def _look(self, changed: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(_INTERVAL)
            before = self._current
            try:
                if await self.master() != before and before is not None:
                    changed()
            except links.Refused:
                continue  # the connection to the master may be fine

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
