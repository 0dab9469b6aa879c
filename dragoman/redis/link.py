"""A connection that is always there, or always being made: what stores send their commands to.

A link asks where to go (Sentinel may name another master than before), connects, logs in, loads the scripts
and stays until the connection is lost; then it begins anew, at first at once and then at growing intervals.
While there is no connection `send` says so, and nobody waits for one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import hiredis

from dragoman.redis import command as commands, connection
from dragoman.redis.url import Address, Target

log = logging.getLogger(__name__)

_CONNECT: Final = 2.0
"""Seconds that a connection may take to be made, log-in included."""
_PAUSES: Final = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between attempts; the last for all further ones."""


class Refused(Exception):  # noqa: N818 (carries Redis' words)
    """Redis does not let us in, or is not what we look for. The words are Redis' error code and ours."""


class Link:
    """`start`, `send` while `up`, `drop` what is not the right place any more, `stop`."""

    def __init__(
        self,
        find: Callable[[], Awaitable[Address]],
        target: Target,
        patience: float,
        prepare: Iterable[bytes] = (),
        *,
        master: bool = False,
    ) -> None:
        self._find = find
        self._target = target
        self._patience = patience
        self._prepare = tuple(prepare)
        self._master = master
        self._connection: connection.Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._first = asyncio.Event()
        self.trouble = "no connection yet"
        """Why there is no connection, in words; "" while there is one."""

    @property
    def up(self) -> bool:
        return self._connection is not None and self._connection.usable

    def send(self, command: bytes, receiver: connection.Receiver, token: Any = None) -> bool:
        """Whether the command is on its way; if not, the receiver hears nothing."""
        if self._connection is None or not self._connection.usable:
            return False
        self._connection.send(command, receiver, token)
        return True

    def drop(self) -> None:
        """Closes the connection; another is made, to wherever it belongs then."""
        if self._connection is not None:
            self._connection.close()

    async def start(self, wait: float = 0.0) -> None:
        """`wait`: seconds to wait for the first attempt to end, however it does."""
        self._task = asyncio.create_task(self._run())
        if wait:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self.ready()

    async def ready(self) -> None:
        """Returns when the first attempt has ended."""
        await self._first.wait()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        attempt = 0
        while True:
            await asyncio.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)] * (0.75 + random.random() / 2))
            attempt += 1
            fresh: connection.Connection | None = None
            gone = asyncio.Event()
            try:
                async with asyncio.timeout(_CONNECT):
                    # Greetings may take longer than requests.
                    fresh = await open_connection(await self._find(), self._target, _CONNECT, gone.set)
                    await self._greet(fresh)
                fresh.patience = self._patience
                self._connection, self.trouble, attempt = fresh, "", 0
                self._first.set()
                await gone.wait()
                self.trouble = "the connection was lost"
            except (OSError, Refused, connection.Lost) as failure:
                self.trouble = describe(failure)
                log.debug("no connection to Redis: %s", self.trouble)
            finally:
                self._connection = None
                self._first.set()
                if fresh is not None:
                    fresh.close()

    async def _greet(self, fresh: connection.Connection) -> None:
        target = self._target
        if target.password:
            await log_in(fresh, target.user, target.password)
        if target.database:
            await demand(fresh, b"SELECT", b"%d" % target.database)
        if self._master and (await demand(fresh, b"ROLE"))[0] != b"master":
            raise Refused("what Sentinel named is not a master (any more)")
        for command in self._prepare:
            await ask(fresh, command)


class Reply:
    """Receives one answer for a coroutine."""

    def __init__(self) -> None:
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def receive(self, token: Any, answer: Any) -> None:
        if not self.future.done():
            self.future.set_result(answer)


async def ask(to: connection.Connection, command: bytes) -> Any:
    """The answer, which may be `hiredis.ReplyError`. Raises `Lost`."""
    reply = Reply()
    to.send(command, reply)
    answer = await reply.future
    if isinstance(answer, connection.Lost):
        raise answer
    return answer


async def demand(to: connection.Connection, *words: bytes) -> Any:
    """The answer to a command that must not fail. Raises `Refused`, which names the command and no more."""
    answer = await ask(to, commands.bulk(*words))
    if isinstance(answer, hiredis.ReplyError):
        raise Refused(f"{words[0].decode()}: {str(answer).split(' ', 1)[0]}")
    return answer


async def log_in(to: connection.Connection, user: str, password: str) -> None:
    words = [user.encode(), password.encode()] if user else [password.encode()]
    await demand(to, b"AUTH", *words)


async def open_connection(
    address: Address,
    target: Target,
    patience: float,
    lost: Callable[[], None] = lambda: None,
) -> connection.Connection:
    """Connects, with TLS where the target has it. Raises OSError."""
    loop = asyncio.get_running_loop()

    def make() -> connection.Connection:
        return connection.Connection(patience, lost)

    if not address.port:
        return (await loop.create_unix_connection(make, address.host))[1]
    tls = target.tls
    secure = await asyncio.to_thread(tls.context) if tls is not None else None
    name = (tls.server_name or address.host) if tls is not None else None
    return (await loop.create_connection(make, address.host, address.port, ssl=secure, server_hostname=name))[
        1
    ]


def describe(failure: BaseException) -> str:
    """A failure in words that hold no secret."""
    if isinstance(failure, TimeoutError):
        return "no connection in time"
    if isinstance(failure, connection.Lost):
        return "no answer"
    if isinstance(failure, OSError):
        return (failure.strerror or type(failure).__name__).lower()
    return str(failure)
