"""What comes out of a `Connection`, the fault that ends one, and the fields that frames have in common."""

from __future__ import annotations

from typing import TypeAlias

from dragoman.ratelimit.transport.http2 import frames, head as heads
from dragoman.ratelimit.transport.http2.frames import ErrorCode


class Request:
    """A call with its whole message."""

    __slots__ = ("head", "message", "stream")

    def __init__(self, stream: int, head: heads.Head, message: bytes) -> None:
        self.stream = stream
        self.head = head
        self.message = message


class Cancelled:
    """Nobody waits for the answer to this stream's request any more."""

    __slots__ = ("stream",)

    def __init__(self, stream: int) -> None:
        self.stream = stream


Event: TypeAlias = Request | Cancelled


class FatalError(Exception):
    """A connection error (RFC 9113 section 5.4.1): GOAWAY with `code` and `reason`, and the end."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def unpadded(flags: int, payload: bytes) -> bytes:
    """Sections 6.1 and 6.2: without padding."""
    if not flags & frames.PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise FatalError(ErrorCode.PROTOCOL_ERROR, "padding longer than its frame")
    return payload[1 : len(payload) - payload[0]]
