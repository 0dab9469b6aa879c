"""One connection to Redis that pipelines by itself: what a turn of the event loop asks is one write.

Commands come as bytes, answers go to receivers in the order of the commands. There is no lock, no pool and
no task: with one request under way nothing waits, with a hundred they share system calls. hiredis' reader
takes the answers apart.

A command without an answer for `patience` seconds is given up: its receiver gets `Lost`, its answer is
dropped when it comes. A connection on which nothing comes for `STALLED` seconds is closed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

import hiredis

STALLED: Final = 1.0
"""Seconds without an answer after which a connection is taken for dead."""

_LARGEST_BACKLOG: Final = 8 * 1024 * 1024
"""Bytes that may wait to be written."""


class Lost(Exception):  # noqa: N818 (an answer, not a mistake)
    """No answer: too late, or the connection is gone. The command may have been carried out."""


class Receiver(Protocol):
    """Takes the answer to a command: data, `hiredis.ReplyError` or `Lost`. `token` is the sender's own."""

    def receive(self, token: Any, answer: Any) -> None: ...


class _Nobody:
    """Receives what nobody waits for any more."""

    def receive(self, token: Any, answer: Any) -> None:
        return None


_NOBODY: Final = _Nobody()


class Connection(asyncio.Protocol):
    """`send` commands once connected. `lost` is called once, when the connection is gone."""

    def __init__(self, patience: float, lost: Callable[[], None]) -> None:
        self.patience = patience
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader(notEnoughData=...)
        self._waiting: deque[tuple[Receiver, Any]] = deque()
        self._buffer: list[bytes] = []
        self._sent = 0
        self._received = 0
        self._watch: asyncio.TimerHandle | None = None
        self._silent_since = 0.0
        self._paused = False

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing() and not self._paused

    def send(self, command: bytes, receiver: Receiver, token: Any = None) -> None:
        """Sends at the end of this turn. Only where `usable`."""
        if not self._buffer:
            self._loop.call_soon(self._flush)
        self._buffer.append(command)
        self._waiting.append((receiver, token))
        self._sent += 1

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=_LARGEST_BACKLOG)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        gets, waiting = self._reader.gets, self._waiting
        self._silent_since = 0.0
        try:
            while (answer := gets()) is not ...:
                receiver, token = waiting.popleft()
                self._received += 1
                receiver.receive(token, answer)
        except (hiredis.ProtocolError, IndexError):
            self.close()  # not Redis, or an answer that nobody asked for

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._buffer.clear()
        waiting, self._waiting = self._waiting, deque()
        self._lost()
        for receiver, token in waiting:
            receiver.receive(token, Lost())

    # Within

    def _flush(self) -> None:
        if self._transport is None or not self._buffer:
            return
        self._transport.write(b"".join(self._buffer))
        self._buffer.clear()
        if self._watch is None:
            self._watch = self._loop.call_later(self.patience, self._check, self._sent)

    def _check(self, mark: int) -> None:
        """Gives up on those of the first `mark` commands that have no answer by now."""
        self._watch = None
        late = mark - self._received
        if late > 0:
            now = self._loop.time()
            self._silent_since = self._silent_since or now - self.patience
            if now - self._silent_since >= STALLED:
                self.close()
                return
            for index in range(late):
                receiver, token = self._waiting[index]
                if receiver is not _NOBODY:
                    self._waiting[index] = _NOBODY, None
                    receiver.receive(token, Lost())
        if self._waiting:
            self._watch = self._loop.call_later(self.patience, self._check, self._sent)
