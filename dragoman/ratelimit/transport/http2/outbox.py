"""What a connection has to send, and when it may: flow control's sending half (RFC 9113 sections 5.2, 6.9).

Small answers, the usual case, are joined from constants and go out at once. What the peer's windows do not
let through waits: in `_queue` for the connection's window, in the order in which the answers came; outside of
it for the stream's own. `connection` owns the one `Outbox`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from dragoman.ratelimit.transport.http2 import answers, frames
from dragoman.ratelimit.transport.http2.events import FatalError
from dragoman.ratelimit.transport.http2.frames import ErrorCode
from dragoman.ratelimit.transport.http2.stream import PREFIX, Stream

_SMALL: Final = 1024
_END: Final = frames.END_HEADERS | frames.END_STREAM

# An answer is HEADERS, DATA and HEADERS again. These are its parts around the three stream identifiers; those
# that depend on the message's size are made once for the small ones.
_HEADERS: Final = frames.frame(frames.HEADERS, frames.END_HEADERS, 0, answers.HEADERS)[:5]
_TRAILERS: Final = frames.frame(frames.HEADERS, _END, 0, answers.TRAILERS)[:5]
_DATA: Final = tuple(
    answers.HEADERS + (size + PREFIX).to_bytes(3, "big") + bytes((frames.DATA, 0)) for size in range(_SMALL)
)
_PREFIXES: Final = tuple(size.to_bytes(PREFIX, "big") for size in range(_SMALL))


class Outbox:
    """`window`, `initial_window` and `frame_size` are the peer's limits."""

    __slots__ = ("_queue", "frame_size", "frames", "initial_window", "window")

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.window = frames.DEFAULT_WINDOW
        self.initial_window = frames.DEFAULT_WINDOW
        self.frame_size = frames.DEFAULT_FRAME_SIZE
        self._queue: dict[int, Stream] = {}

    def answer(self, stream: int, state: Stream, message: bytes) -> bool:
        """Takes an answer. True when all of it is among the frames; else it waits (`state.unsent`)."""
        size = len(message)
        room = size + PREFIX
        if (
            size < _SMALL
            and room <= self.window
            and room <= self.initial_window + state.credit
            and not self._queue
        ):
            self.window -= room
            name = stream.to_bytes(4, "big")
            self.frames += (
                _HEADERS,
                name,
                _DATA[size],
                name,
                _PREFIXES[size],
                message,
                _TRAILERS,
                name,
                answers.TRAILERS,
            )
            return True
        state.unsent = size.to_bytes(PREFIX, "big") + message
        if self._queue:
            self._queue[stream] = state
            return False
        return self.push(stream, state)

    def push(self, stream: int, state: Stream) -> bool:
        """Sends what the windows allow of an answer that waits. True when that was the last of it."""
        unsent = state.unsent
        if unsent is None:
            return False
        if state.sent < 0:
            state.sent = 0
            self.frames.append(frames.frame(frames.HEADERS, frames.END_HEADERS, stream, answers.HEADERS))
        while state.sent < len(unsent):
            own = self.initial_window + state.credit
            room = min(self.window, own, self.frame_size)
            if room <= 0:
                if own > 0:
                    self._queue[stream] = state
                return False
            piece = unsent[state.sent : state.sent + room]
            self.frames.append(frames.frame(frames.DATA, 0, stream, piece))
            self.window -= len(piece)
            state.credit -= len(piece)
            state.sent += len(piece)
        self.frames.append(frames.frame(frames.HEADERS, _END, stream, answers.TRAILERS))
        return True

    def widen(self, increment: int) -> list[int]:
        """WINDOW_UPDATE of the connection (6.9). The streams whose answers are now sent to the end."""
        if not increment:
            raise FatalError(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of nothing")
        self.window += increment
        if self.window > frames.LARGEST_WINDOW:
            raise FatalError(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window is too large")
        done = []
        queue, self._queue = self._queue, {}
        while queue and self.window > 0:
            stream = next(iter(queue))
            state = queue.pop(stream)
            if self.push(stream, state):
                done.append(stream)
        # What `push` put back has waited longest.
        self._queue |= queue
        return done

    def configure(self, payload: bytes, streams: Mapping[int, Stream]) -> list[int]:
        """SETTINGS of the peer (6.5.2). The streams whose answers are now sent to the end.

        HEADER_TABLE_SIZE and MAX_HEADER_LIST_SIZE do not concern answers like ours.
        """
        before = self.initial_window
        for name, value in struct.iter_unpack(">HL", payload):
            if name == frames.INITIAL_WINDOW_SIZE:
                if value > frames.LARGEST_WINDOW:
                    raise FatalError(ErrorCode.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE is too large")
                self.initial_window = value
            elif name == frames.MAX_FRAME_SIZE:
                if not frames.DEFAULT_FRAME_SIZE <= value <= frames.LARGEST_FRAME_SIZE:
                    raise FatalError(ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE out of range")
                self.frame_size = value
            elif name == frames.ENABLE_PUSH and value > 1:
                raise FatalError(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is neither 0 nor 1")
        if self.initial_window == before:
            return []
        # 6.9.2: the windows of all streams have changed.
        if any(self.initial_window + state.credit > frames.LARGEST_WINDOW for state in streams.values()):
            raise FatalError(ErrorCode.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE is too large")
        return [stream for stream, state in streams.items() if self.push(stream, state)]

    def forget(self, stream: int) -> None:
        """The stream is closed; it waits for nothing any more."""
        if self._queue:
            self._queue.pop(stream, None)

    def take(self) -> bytes:
        if not self.frames:
            return b""
        joined = b"".join(self.frames)
        self.frames.clear()
        return joined
