"""A Redis Cluster: one link for each master, and which of them has which slot.

The map of slots is asked for at the start, when a server says that a slot has moved, and while a master is
away; a moved slot is followed at once. Keys that are on their way to another master (ASK) are asked for
there. The rate-limit service's store and `client` send through it.
"""

from __future__ import annotations

import asyncio
import binascii
import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import hiredis

from dragoman.redis import command as commands, connection, link as links
from dragoman.redis.url import Address, Target

SLOTS: Final = 16384

_CALM: Final = 10.0
_TROUBLED: Final = 0.25
"""Seconds between two looks at the map of slots: when all is well, and when it is not."""


def slot(key: bytes) -> int:
    """The slot of a key: of what stands between its first braces, if anything does."""
    begin = key.find(b"{")
    if begin >= 0 and (end := key.find(b"}", begin + 1)) > begin + 1:
        key = key[begin + 1 : end]
    return binascii.crc_hqx(key, 0) % SLOTS


class _Deaf:
    """Receives the answer to ASKING."""

    def receive(self, token: Any, answer: Any) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Where a server says that a key is. `once`: this time only (ASK)."""

    link: links.Link
    once: bool

    def send(self, command: bytes, receiver: connection.Receiver, token: Any = None) -> bool:
        """As `Link.send`."""
        if self.once and not self.link.send(commands.bulk(b"ASKING"), _Deaf()):
            return False
        return self.link.send(command, receiver, token)


class Cluster:
    """`start`, send through `link`, follow what is `elsewhere`, `stop`. `target.addresses` are where to
    begin; `prepare` is sent over each new connection."""

    def __init__(self, target: Target, patience: float, prepare: Iterable[bytes] = ()) -> None:
        self._target = target
        self._patience = patience
        self._prepare = tuple(prepare)
        self._links: dict[Address, links.Link] = {}
        self._slots: list[links.Link | None] = [None] * SLOTS
        self._look = asyncio.Event()
        self._mapped = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self.trouble = "the map of the cluster is not known"

    async def start(self, wait: float) -> None:
        """`wait`: seconds to wait for the map and the first connections, even if there are none then."""
        self._task = asyncio.create_task(self._follow())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._mapped.wait()
                for link in list(self._links.values()):
                    await link.ready()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for link in self._links.values():
            await link.stop()
        await asyncio.gather(*self._ending)

    @property
    def up(self) -> bool:
        return bool(self._links) and all(link.up for link in self._links.values())

    def link(self, slot: int) -> links.Link | None:
        """To the master that has a slot, as far as that is known."""
        return self._slots[slot]

    def look(self) -> None:
        """Something is amiss: asks for the map soon."""
        self._look.set()

    def elsewhere(self, answer: Any) -> Elsewhere | None:
        """Where an answer says that its key is, if it says so. What is in trouble has the map asked for."""
        words = str(answer).split(" ") if isinstance(answer, hiredis.ReplyError) else []
        if len(words) == 3 and words[0] in ("MOVED", "ASK"):
            host, _, port = words[2].rpartition(":")
            link = self._node(Address(host or self._target.addresses[0].host, int(port)))
            if words[0] == "MOVED":
                self._slots[int(words[1])] = link
                self._look.set()
            return Elsewhere(link, words[0] == "ASK")
        if words and words[0] in ("CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN"):
            self._look.set()
        return None

    def _node(self, address: Address) -> links.Link:
        link = self._links.get(address)
        if link is None:

            async def here() -> Address:
                return address

            link = links.Link(here, self._target, self._patience, self._prepare)
            self._links[address] = link
            starting = asyncio.create_task(link.start())
            self._ending.add(starting)
            starting.add_done_callback(self._ending.discard)
        return link

    # The map

    async def _follow(self) -> None:
        while True:
            self._look.clear()
            try:
                self._take_map(await self._ask_map())
                self._mapped.set()
                self.trouble = "a master of the cluster does not answer"
            except links.Refused as failure:
                self.trouble = str(failure)
            well = self.up and not self._look.is_set()
            try:
                async with asyncio.timeout(_CALM if well else _TROUBLED):
                    await self._look.wait()
                await asyncio.sleep(_TROUBLED / 5)  # what says so says it many times
            except TimeoutError:
                pass

    async def _ask_map(self) -> tuple[Address, Sequence[Any]]:
        """CLUSTER SLOTS, of the first node that tells, and that node."""
        trouble = "no node of the cluster answers"
        for address in dict.fromkeys((*self._links, *self._target.addresses)):
            try:
                async with asyncio.timeout(1.0):
                    talk = await links.open_connection(address, self._target, 1.0)
                    try:
                        if self._target.password:
                            await links.log_in(talk, self._target.user, self._target.password)
                        return address, await links.demand(talk, b"CLUSTER", b"SLOTS")
                    finally:
                        talk.close()
            except (OSError, connection.Lost, links.Refused) as failure:
                trouble = f"{address}: {links.describe(failure)}"
        raise links.Refused(trouble)

    def _take_map(self, said: tuple[Address, Sequence[Any]]) -> None:
        by, ranges = said
        fresh: list[links.Link | None] = [None] * SLOTS
        named: set[Address] = set()
        for first, last, master, *_ in ranges:
            address = Address(master[0].decode() or by.host, master[1])
            named.add(address)
            fresh[first : last + 1] = [self._node(address)] * (last + 1 - first)
        self._slots = fresh
        for address in self._links.keys() - named:
            ending = asyncio.create_task(self._links.pop(address).stop())
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
