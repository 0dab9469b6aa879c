"""One stream, and the request message that is put together on it (gRPC's PROTOCOL-HTTP2.md, "Requests").

`connection` makes one per HEADERS and keeps it until the call is answered or reset.
"""

from __future__ import annotations

from typing import Final

from dragoman.ratelimit.transport import base
from dragoman.ratelimit.transport.http2 import head as heads

PREFIX: Final = 5
"""Length-Prefixed-Message: a compressed flag and four bytes of length."""


class Stream:
    """RFC 9113 section 5.1: open, or half-closed (remote) once `ended`.

    `handed` is set when the service has its request. `credit` is what WINDOW_UPDATE and sent data have added
    to and taken from the peer's initial window, so that a change of that setting (6.9.2) touches no stream.
    """

    __slots__ = (
        "buffer",
        "credit",
        "ended",
        "handed",
        "head",
        "received",
        "sent",
        "unsent",
        "updated",
    )

    def __init__(self, head: heads.Head) -> None:
        self.head = head
        self.ended = False
        self.handed = False
        self.credit = 0
        self.received = 0  # bytes of data, without padding
        self.updated = 0  # bytes of DATA frames since our last WINDOW_UPDATE
        self.buffer: bytearray | None = None  # of a message that comes in pieces
        self.unsent: bytes | None = None  # an answer that the windows did not let through at once
        self.sent = -1  # how much of it is sent; -1: not even HEADERS

    def add(self, data: bytes) -> None:
        if self.buffer is None:
            self.buffer = bytearray()
        self.buffer += data
        self.received += len(data)

    def problem(self, largest: int) -> base.Status | None:
        """What can be said against the message from what there is of it."""
        buffer = self.buffer
        if not buffer:
            return None
        if buffer[0] == 1:
            if self.head.encoding == "identity":
                return base.Status(base.Code.INTERNAL, "a compressed message without grpc-encoding")
            return base.Status(base.Code.UNIMPLEMENTED, "compressed messages are not supported")
        if buffer[0] > 1:
            return base.Status(base.Code.INTERNAL, "a message with an unknown flag")
        length = self._length()
        if length > largest:
            text = f"a message of {length} bytes; at most {largest} are taken"
            return base.Status(base.Code.RESOURCE_EXHAUSTED, text)
        if len(buffer) > PREFIX and len(buffer) > PREFIX + length:
            return base.Status(base.Code.UNIMPLEMENTED, "more than one message for a unary method")
        return None

    def whole(self) -> bytes | base.Status:
        """The message, once the peer has ended the stream."""
        buffer = self.buffer
        if not buffer:
            return base.Status(base.Code.UNIMPLEMENTED, "no message for a unary method")
        if len(buffer) < PREFIX or len(buffer) < PREFIX + self._length():
            return base.Status(base.Code.INTERNAL, "a message that ends too early")
        return bytes(buffer[PREFIX:])

    def _length(self) -> int:
        """What the prefix says; 0 as long as it is not all there."""
        buffer = self.buffer or b""
        return int.from_bytes(buffer[1:PREFIX], "big") if len(buffer) >= PREFIX else 0
