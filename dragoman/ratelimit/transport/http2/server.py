"""The asyncio shell around `connection`: sockets, TLS, clocks, and the handlers' answers.

Everything that one read brings is answered in one write; answers that come later, from Redis say, are
collected for one write per turn of the event loop. A peer that does not read is not read from either. The
service starts and stops it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import ssl
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dragoman import certificates
from dragoman.ratelimit.transport import base, tls
from dragoman.ratelimit.transport.http2.connection import Connection, Known
from dragoman.ratelimit.transport.http2.events import Request

log: Final = logging.getLogger(__name__)

_BACKLOG: Final = 1024
_LOOK: Final = 1.0  # seconds between looks at the certificate's files
_CONCLUDE: Final = 1.0  # seconds for the PING between the two GOAWAYs
_QUIET: Final = 1.0  # seconds between two reports of handlers' faults
_LINGER: Final = 5.0  # seconds for a peer to read the last bytes
_LATE: Final = base.Status(base.Code.DEADLINE_EXCEEDED, "the deadline has passed")
_FAILED: Final = base.Status(base.Code.INTERNAL, "internal error")


@dataclass(slots=True)
class Totals:
    """Since the start. `faults`: connections that we ended for what the peer did."""

    connections: int = 0
    answered: int = 0
    cancelled: int = 0
    faults: int = 0


class Server:
    """The thin transport (`base.Server`)."""

    def __init__(self, settings: base.Settings, handlers: base.Handlers) -> None:
        self.settings = settings
        self.handlers = dict(handlers)
        self.known: Known = {}
        self.connections: set[_Shell] = set()
        self._past = Totals()
        self._certificates: certificates.Certificates | None = None
        self._listeners: list[asyncio.Server] = []
        self._sockets: list[socket.socket] = []
        self._watch: asyncio.Task[None] | None = None
        self._idle: asyncio.Future[None] | None = None
        self._quiet = 0.0
        self._unsaid = 0

    async def start(self) -> int:
        settings = self.settings
        loop = asyncio.get_running_loop()
        if settings.tls is not None:
            self._certificates = certificates.Certificates(settings.tls, "the rate-limit service")
        options: dict[str, Any] = {"backlog": _BACKLOG}
        if self._certificates is not None:
            options["ssl"] = self._certificates.context
            options["ssl_handshake_timeout"] = settings.handshake_timeout
        if settings.address.startswith("unix:"):
            path = settings.address.removeprefix("unix:")
            listener = await loop.create_unix_server(lambda: _Shell(self, loop), path, **options)
            port = 0
        else:
            # One process, one listener: SO_REUSEPORT was seen to leave processes idle.
            listener = await loop.create_server(
                lambda: _Shell(self, loop), settings.address, settings.port, **options
            )
            port = listener.sockets[0].getsockname()[1]
        self._listeners = [listener]
        if self._certificates is not None:
            self._sockets = [each.dup() for each in listener.sockets]
            self._watch = asyncio.create_task(self._follow(self._certificates))
        log.info("rate limits on %s port %d", settings.address, port)
        return port

    async def _follow(self, followed: certificates.Certificates) -> None:
        """Puts new listeners on the same sockets when the certificate changes: asyncio's cannot take another
        context."""
        loop = asyncio.get_running_loop()
        unix = self.settings.address.startswith("unix:")
        create = loop.create_unix_server if unix else loop.create_server
        while True:
            await asyncio.sleep(_LOOK)
            if not followed.refresh():
                continue
            fresh: list[asyncio.Server] = []
            try:
                for each in self._sockets:
                    fresh.append(  # noqa: PERF401 (those there are must be closed when one fails)
                        await create(
                            lambda: _Shell(self, loop),
                            sock=each.dup(),
                            backlog=_BACKLOG,
                            ssl=followed.context,
                            ssl_handshake_timeout=self.settings.handshake_timeout,
                        )
                    )
            except BaseException:
                for listener in fresh:
                    listener.close()
                raise
            old, self._listeners = self._listeners, fresh
            for listener in old:
                listener.close()

    async def stop(self, drain: float | None = None) -> None:
        if not self._listeners:
            return
        self._close()
        window = self.settings.drain if drain is None else drain
        for shell in list(self.connections):
            shell.drain(min(_CONCLUDE, window / 2))
        if self.connections:
            self._idle = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._idle], timeout=window)
        for shell in list(self.connections):
            shell.abort()

    def _close(self) -> None:
        """Takes no more connections."""
        if self._watch is not None:
            self._watch.cancel()
        for listener in self._listeners:
            listener.close()
        for each in self._sockets:
            each.close()
        self._listeners, self._sockets = [], []
        if self.settings.address.startswith("unix:"):
            Path(self.settings.address.removeprefix("unix:")).unlink(missing_ok=True)

    def totals(self) -> Totals:
        past = self._past
        answered = past.answered + sum(shell.connection.answered for shell in self.connections)
        cancelled = past.cancelled + sum(shell.connection.cancelled for shell in self.connections)
        return Totals(past.connections, answered, cancelled, past.faults)

    def failed(self, failure: BaseException) -> None:
        """A handler's fault: logged in full, but not more than once a second."""
        now = asyncio.get_running_loop().time()
        if now < self._quiet:
            self._unsaid += 1
            return
        log.error("a handler failed (%d more since the last time)", self._unsaid, exc_info=failure)
        self._quiet, self._unsaid = now + _QUIET, 0

    def made(self, shell: _Shell) -> None:
        self.connections.add(shell)
        self._past.connections += 1

    def lost(self, shell: _Shell) -> None:
        self.connections.discard(shell)
        self._past.answered += shell.connection.answered
        self._past.cancelled += shell.connection.cancelled
        self._past.faults += bool(shell.connection.fault)
        if not self.connections and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)


class _Call(base.Call):
    """A call of one stream. `task` is there when the handler returned an awaitable."""

    __slots__ = ("done", "shell", "stream", "task")

    def __init__(self, shell: _Shell, stream: int, deadline: float | None, metadata: base.Metadata) -> None:
        self.peer = shell.peer
        self.deadline = deadline
        self.metadata = metadata
        self.cancelled = False
        self.on_cancel = None
        self.shell = shell
        self.stream = stream
        self.done = False
        self.task: asyncio.Future[base.Outcome] | None = None

    def finish(self, outcome: base.Outcome) -> None:
        if not self.done:
            self.done = True
            self.shell.answer(self.stream, outcome)

    def settle(self, task: asyncio.Future[base.Outcome]) -> None:
        """The awaitable has come to its end."""
        if task.cancelled():
            self.finish(base.Status(base.Code.CANCELLED, "cancelled"))
        elif (failure := task.exception()) is not None:
            self.shell.server.failed(failure)
            self.finish(_FAILED)
        else:
            self.finish(task.result())

    def cancel(self) -> None:
        """Nobody waits any more; `finish` is to do nothing."""
        self.done = self.cancelled = True
        if self.task is not None:
            self.task.cancel()
        if self.on_cancel is not None:
            try:
                self.on_cancel()
            except Exception as failure:
                self.shell.server.failed(failure)


class _Shell(asyncio.Protocol):
    """One accepted connection."""

    __slots__ = (
        "_alarm",
        "_handlers",
        "_late",
        "_loop",
        "_scheduled",
        "_timers",
        "_transport",
        "connection",
        "peer",
        "server",
    )

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self._handlers = server.handlers
        self._loop = loop
        self._late: dict[int, _Call] = {}
        self._scheduled = False
        self._timers: list[asyncio.TimerHandle] = []
        self._alarm: asyncio.TimerHandle | None = None  # for the first deadline among the late calls
        self._transport: asyncio.Transport = None  # type: ignore[assignment]
        self.peer = base.Peer("")
        self.connection = Connection(server.settings, loop.time(), server.handlers, server.known)

    # asyncio.Protocol.

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.server.made(self)
        accepted = transport.get_extra_info("socket")
        if accepted.family != socket.AF_UNIX:
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a peer may vanish without a word
        secured: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if secured is not None and secured.selected_alpn_protocol() != "h2":
            self.abort()
            return
        certificate = secured.getpeercert() if secured is not None else None
        self.peer = base.Peer(_address(transport.get_extra_info("peername")), tls.names(certificate))
        settings = self.server.settings
        self._timers.append(self._loop.call_later(settings.handshake_timeout, self._unless_greeted))
        if settings.max_connection_age > 0:
            age = settings.max_connection_age * random.uniform(0.9, 1.1)
            self._timers.append(self._loop.call_later(age, self._retire))
        self._flush()

    def data_received(self, data: bytes) -> None:
        connection = self.connection
        now = self._loop.time()
        self._scheduled = True  # one write, below
        for event in connection.receive(data, now):
            if type(event) is Request:
                if connection.waiting(event.stream):
                    self._serve(event, now)
            else:
                self._cancel(event.stream)
        self._flush()

    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def connection_lost(self, _: Exception | None) -> None:
        for timer in self._timers:
            timer.cancel()
        if self._alarm is not None:
            self._alarm.cancel()
        late, self._late = self._late, {}
        for call in late.values():
            call.cancel()
        self.server.lost(self)

    # Calls.

    def _serve(self, request: Request, now: float) -> None:
        head = request.head
        stream = request.stream
        call = _Call(self, stream, None if head.timeout is None else now + head.timeout, head.metadata)
        try:
            answer = self._handlers[head.path](request.message, call)
        except Exception as failure:
            # The supervisor of one call: a fault is logged and ends this one.
            self.server.failed(failure)
            answer = _FAILED
        if type(answer) is bytes:
            self.connection.respond(stream, answer)
        elif isinstance(answer, base.Status):
            self.connection.refuse(stream, answer)
        elif not call.done:
            self._wait(call, answer)

    def _wait(self, call: _Call, answer: bytes | Awaitable[base.Outcome] | None) -> None:
        """The answer comes later."""
        self._late[call.stream] = call
        if isinstance(answer, Awaitable):
            call.task = asyncio.ensure_future(answer)
            call.task.add_done_callback(call.settle)
        if call.deadline is not None and (self._alarm is None or call.deadline < self._alarm.when()):
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = self._loop.call_at(call.deadline, self._expire)

    def answer(self, stream: int, outcome: base.Outcome) -> None:
        """From `_Call.finish`."""
        self._late.pop(stream, None)
        if isinstance(outcome, base.Status):
            self.connection.refuse(stream, outcome)
        else:
            self.connection.respond(stream, outcome)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _cancel(self, stream: int) -> None:
        call = self._late.pop(stream, None)
        if call is not None:
            call.cancel()

    def _expire(self) -> None:
        """Ends the calls whose deadline has passed; sets the alarm for the next. One timer for all of them:
        most are answered long before."""
        now = self._loop.time()
        self._alarm = None
        first: float | None = None
        for call in list(self._late.values()):
            if call.deadline is None:
                continue
            if call.deadline <= now:
                self.connection.refuse(call.stream, _LATE)
                self._cancel(call.stream)
            elif first is None or call.deadline < first:
                first = call.deadline
        if first is not None:
            self._alarm = self._loop.call_at(first, self._expire)
        self._flush()

    # Sending and ending.

    def _flush(self) -> None:
        self._scheduled = False
        if self._transport.is_closing():
            return
        data = self.connection.take()
        if data:
            self._transport.write(data)
        if self.connection.closed:
            if self.connection.fault:
                log.debug("connection of %s ended: %s", self.peer.address, self.connection.fault)
            self._transport.close()
            self._timers.append(self._loop.call_later(_LINGER, self.abort))

    def _unless_greeted(self) -> None:
        if not self.connection.greeted:
            self.abort()

    def _retire(self) -> None:
        """The connection is old enough."""
        self.drain(_CONCLUDE)
        self._timers.append(self._loop.call_later(self.server.settings.age_grace, self.abort))

    def drain(self, patience: float) -> None:
        """Both steps of an orderly end; the second after `patience` seconds if the peer says nothing."""
        self.connection.drain()
        self._timers.append(self._loop.call_later(patience, self._conclude))
        self._flush()

    def _conclude(self) -> None:
        self.connection.conclude()
        self._flush()

    def abort(self) -> None:
        self._transport.abort()


def _address(name: Any) -> str:
    """As `base.Peer` says."""
    if not isinstance(name, tuple):
        return "unix:"
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
