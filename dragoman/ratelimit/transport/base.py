"""What a transport and the service agree on: bytes in, bytes or a gRPC status out, now or later.

A `Handler` serves one unary method. In the usual case it returns the response at once, and no task, future or
lock is touched on the way: that is where the speed is. An answer that has to wait (for Redis, or because the
delay is the answer) is either an awaitable or LATER, with `Call.finish` called when it is there.

The service is written against this module alone; `http2` and `grpc_aio` are the two transports.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeAlias


class Code(enum.IntEnum):
    """gRPC's status codes, as far as they are used here. Numbers are those on the wire."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class Status:
    """How a call ends without a response. The message goes to the peer: no secrets, no payloads."""

    code: Code
    message: str = ""


class StatusError(Exception):
    """Raised by stream handlers to end the stream with `status`."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end. `address` is `127.0.0.1:4711`, `[::1]:4711` or `unix:`; `names` are the subject
    alternative names of a client certificate that the server's `client_ca` vouches for, else empty.
    """

    address: str
    names: tuple[str, ...] = ()


Metadata: TypeAlias = tuple[tuple[str, str], ...]
Outcome: TypeAlias = bytes | Status


class Call:
    """One call, as its handler sees it. Handlers that answer at once may ignore it.

    `deadline` is on the event loop's clock (seconds), None without one; the transport itself ends a late call
    at its deadline. `metadata` are the request's headers without those of HTTP/2 and gRPC (names in lower
    case). `on_cancel` may be set by a handler that answers later: it is called once if the client goes away
    or the deadline passes. `finish` after that does nothing.
    """

    __slots__ = ("cancelled", "deadline", "metadata", "on_cancel", "peer")

    def __init__(self, peer: Peer, deadline: float | None, metadata: Metadata) -> None:
        self.peer = peer
        self.deadline = deadline
        self.metadata = metadata
        self.cancelled = False
        self.on_cancel: Callable[[], None] | None = None

    def finish(self, outcome: Outcome) -> None:
        """Ends a call whose handler returned LATER. On the event loop's thread; the first time counts."""
        raise NotImplementedError


LATER: Final = None
"""What a handler returns that will call `Call.finish`."""

Answer: TypeAlias = Outcome | Awaitable[Outcome] | None
Handler: TypeAlias = Callable[[bytes, Call], Answer]
"""Takes the request message (not yet decoded). An exception becomes INTERNAL, without its text."""

Handlers: TypeAlias = Mapping[str, Handler]
"""By full method path: `/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit`."""

StreamHandler: TypeAlias = Callable[[AsyncIterator[bytes], Peer], AsyncGenerator[bytes, None]]
"""Takes the request messages, yields the responses; raises StatusError for an end other than OK. It is closed
when the stream has ended, however that came about."""

StreamHandlers: TypeAlias = Mapping[str, StreamHandler]


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files; with `client_ca` clients must show a certificate of it. Read again when they change."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Where and how a transport listens. Seconds and bytes.

    `address` is a host, or `unix:/path` (then `port` is ignored). `max_message` and `max_header_list` (which
    counts as RFC 9113 section 6.5.2 says) are large, since a request about which Envoy could not ask passes:
    a client's headers (60 KiB) may be in a question several times, and a `tracestate` among its headers.
    Connections are told to move on after `max_connection_age` (spread by a tenth; 0: never) and closed
    `age_grace` later. `drain` is how long `stop` waits for calls under way. `patience`: how many frames that
    serve no call a connection may send in a burst (`http2.flood`).
    """

    address: str = "127.0.0.1"
    port: int = 0
    tls: Tls | None = None
    max_message: int = 4 * 1024 * 1024
    max_header_list: int = 128 * 1024
    max_concurrent_streams: int = 4096
    max_connection_age: float = 0.0
    age_grace: float = 5.0
    handshake_timeout: float = 10.0
    drain: float = 2.0
    patience: int = 1000


class Server(Protocol):
    """A transport. `start` and `stop` once each."""

    async def start(self) -> int:
        """Listens; returns the port, 0 for a unix socket. `OSError` if the address is taken or a certificate
        cannot be used."""
        ...

    async def stop(self, drain: float | None = None) -> None:
        """Takes no more connections, lets calls under way end within `drain` seconds (default: the
        settings'), and closes."""
        ...
