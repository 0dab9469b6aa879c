"""The server's side of one HTTP/2 connection as a state machine without I/O (RFC 9113).

`receive` takes bytes and returns events: a whole request, or the end of one that is no longer wanted.
`respond` and `refuse` answer. Whatever has to be sent is collected until `take`. Time comes in as a
parameter, so everything here can be tested, and fuzzed, without a socket. `server` is the shell around it.

How to read it: `receive` cuts frames and looks up `_on_...` by type; each of those is one subsection of RFC
9113 section 6. A stream (section 5.1) exists in `_streams` from its HEADERS until it is answered or reset;
an identifier below `_last` that is not there is closed. Two kinds of fault: `FatalError`, raised
anywhere, ends the connection with GOAWAY (5.4.1); `_reset` ends one stream (5.4.2).
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final, TypeAlias

from dragoman.ratelimit.transport import base
from dragoman.ratelimit.transport.http2 import answers, events, frames, head as heads, hpack
from dragoman.ratelimit.transport.http2.events import FatalError, unpadded
from dragoman.ratelimit.transport.http2.flood import Patience
from dragoman.ratelimit.transport.http2.frames import ErrorCode
from dragoman.ratelimit.transport.http2.outbox import Outbox
from dragoman.ratelimit.transport.http2.stream import PREFIX, Stream

# Our connection window. Frames are consumed as they are read, so it never closes; it only has to hold what is
# in flight in one round trip. It is refilled by halves (6.9: updates in batches).
_WINDOW: Final = 4 << 20

# Bytes of unfinished messages that one connection may leave with us.
_UNFINISHED: Final = 16 << 20

# Streams that we closed before the peer did: frames for them may still be under way (5.1, "closed").
_GHOSTS: Final = 1024

# Section 6.8: the first GOAWAY of a drain is answered, as it were, by the acknowledgement of this PING.
_DRAIN: Final = b"dragoman"

# Header blocks that mean the same on every connection, because no table is in use. Emptied when it is full:
# the few that repeat come back at once.
Known: TypeAlias = dict[bytes, heads.Head]
_KNOWN: Final = 4096
_BLOCK: Final = 1024


class Connection:
    """One connection. Not for threads. `closed`: send what `take` gives, then close the transport."""

    def __init__(
        self, settings: base.Settings, now: float, methods: Container[str], known: Known | None = None
    ) -> None:
        """`methods` are the paths that are served; `known` may be shared by connections of one server."""
        self._settings = settings
        self._methods = methods
        self._known: Known = {} if known is None else known
        self._now = now
        self._rest = b""
        self._preface = False  # 3.4: whether the client's has been read
        self.greeted = False  # 3.4: whether its first SETTINGS has
        self._decoder = hpack.Decoder()
        self._patience = Patience(settings.patience, now)
        self._streams: dict[int, Stream] = {}
        self._ghosts: dict[int, None] = {}
        self._last = 0  # the highest stream identifier of the peer's
        self._block: tuple[int, int, bytearray] | None = None  # stream, flags, block that waits for more
        self._unfinished = 0
        self._updated = 0  # bytes of DATA since our last WINDOW_UPDATE of the connection
        # 6.9: updated by halves, so a message that is not too large needs no update.
        self._stream_window = max(frames.DEFAULT_WINDOW, 2 * (settings.max_message + PREFIX))
        self._accepted = frames.LARGEST_STREAM  # 6.8: streams above are not looked at
        self._draining = False
        self._events: list[events.Event] = []
        self.answered = 0
        self.cancelled = 0
        self.closed = False
        self.fault = ""  # why we ended it; empty for an orderly end
        self._on = (
            self._on_data,
            self._on_headers,
            self._on_priority,
            self._on_rst_stream,
            self._on_settings,
            self._on_push_promise,
            self._on_ping,
            self._on_goaway,
            self._on_window_update,
            self._on_continuation,
        )
        self._outbox = Outbox()
        self._out = self._outbox.frames
        self.take = self._outbox.take
        self._out += (
            frames.settings(
                {
                    frames.HEADER_TABLE_SIZE: 0,
                    frames.ENABLE_PUSH: 0,
                    frames.MAX_CONCURRENT_STREAMS: settings.max_concurrent_streams,
                    frames.INITIAL_WINDOW_SIZE: self._stream_window,
                    frames.MAX_HEADER_LIST_SIZE: settings.max_header_list,
                }
            ),
            frames.window_update(0, _WINDOW - frames.DEFAULT_WINDOW),
        )

    # What the shell calls.

    def receive(self, data: bytes, now: float) -> list[events.Event]:
        """What `data` brings, in order. Never raises."""
        self._now = now
        if self.closed:
            return []
        self._events = happened = list[events.Event]()
        try:
            self._parse(self._rest + data if self._rest else data)
        except FatalError as fault:
            self._abort(fault.code, fault.reason)
        self._settle()
        return happened

    def waiting(self, stream: int) -> bool:
        """Whether an answer to this request is still wanted."""
        return stream in self._streams

    @property
    def open_streams(self) -> int:
        return len(self._streams)

    def respond(self, stream: int, message: bytes) -> None:
        """Answers with one message and OK. Nothing if the stream was reset meanwhile."""
        state = self._streams.get(stream)
        if state is not None and state.unsent is None and self._outbox.answer(stream, state, message):
            self.answered += 1
            del self._streams[stream]

    def refuse(self, stream: int, status: base.Status, http: int = 200) -> None:
        """Answers with a status alone (trailers-only). Nothing if the stream was reset meanwhile."""
        state = self._streams.get(stream)
        if state is None or state.unsent is not None:
            return
        self.answered += 1
        flags = frames.END_HEADERS | frames.END_STREAM
        self._out.append(frames.frame(frames.HEADERS, flags, stream, answers.refusal(status, http)))
        self._forget(stream, state)
        if not state.ended:
            # Section 8.1: an answer before the end of the request; the rest of it is not wanted.
            self._out.append(frames.rst_stream(stream, ErrorCode.NO_ERROR))
            self._ghost(stream)

    def drain(self) -> None:
        """Section 6.8, first step: asks the peer for no new streams, but takes those already under way."""
        if not self._draining and not self.closed:
            self._draining = True
            self._out.append(frames.goaway(frames.LARGEST_STREAM, ErrorCode.NO_ERROR))
            self._out.append(frames.ping(_DRAIN))

    def conclude(self) -> None:
        """Second step, by itself after a round trip (or by the shell, when the peer does not acknowledge
        PINGs): streams that come from now on are not looked at. `closed` follows with the last answer."""
        self.drain()
        if self._accepted == frames.LARGEST_STREAM and not self.closed:
            self._accepted = self._last
            self._out.append(frames.goaway(self._last, ErrorCode.NO_ERROR))
        self._settle()

    # Frames (section 4).

    def _parse(self, data: bytes) -> None:
        position, end = 0, len(data)
        if not self._preface:
            magic = data[: len(frames.PREFACE)]
            if not frames.PREFACE.startswith(magic):
                raise FatalError(ErrorCode.PROTOCOL_ERROR, "not an HTTP/2 client")
            if len(magic) < len(frames.PREFACE):
                self._rest = data
                return
            self._preface = True
            position = len(frames.PREFACE)
        handlers = self._on
        unpack = frames.HEADER.unpack_from
        while end - position >= frames.HEADER_SIZE:
            high, low, kind, flags, stream = unpack(data, position)
            size = high << 8 | low
            if size > frames.DEFAULT_FRAME_SIZE:
                raise FatalError(ErrorCode.FRAME_SIZE_ERROR, "a frame above MAX_FRAME_SIZE")
            start = position + frames.HEADER_SIZE
            position = start + size
            if position > end:
                position = start - frames.HEADER_SIZE
                break
            # 3.4: SETTINGS first. 4.3: nothing may come between the frames of a header block.
            if not self.greeted and kind != frames.SETTINGS:
                raise FatalError(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            if self._block is not None and kind != frames.CONTINUATION:
                raise FatalError(ErrorCode.PROTOCOL_ERROR, "a header block was interrupted")
            if kind <= frames.CONTINUATION:
                handlers[kind](flags, stream & frames.STREAM_MASK, data[start:position])
            else:
                self._charge()  # 4.1: unknown types are ignored
        self._rest = data[position:]

    def _on_data(self, flags: int, stream: int, payload: bytes) -> None:
        """Section 6.1; messages as in gRPC's PROTOCOL-HTTP2.md."""
        size = len(payload)
        self._updated += size
        if self._updated >= _WINDOW // 2:
            self._out.append(frames.window_update(0, self._updated))
            self._updated = 0
        state = self._streams.get(stream)
        if state is None or state.ended:
            self._stray(stream, state)
            return
        if flags == frames.END_STREAM and state.buffer is None and size >= PREFIX:
            # The usual case: one message in one frame.
            length = size - PREFIX
            if (
                payload[0] == 0
                and int.from_bytes(payload[1:PREFIX], "big") == length <= self._settings.max_message
                and state.head.length is None
            ):
                state.ended = state.handed = True
                self._events.append(events.Request(stream, state.head, payload[PREFIX:]))
                return
        self._gather(flags, stream, state, payload)

    def _on_headers(self, flags: int, stream: int, payload: bytes) -> None:
        """Section 6.2."""
        if flags & (frames.PADDED | frames.PRIORITISED):
            payload = unpadded(flags, payload)
            if flags & frames.PRIORITISED:
                if len(payload) < 5:
                    raise FatalError(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short for its priority")
                payload = payload[5:]
        if not stream & 1:
            raise FatalError(ErrorCode.PROTOCOL_ERROR, "HEADERS on a stream that is no client's")
        if flags & frames.END_HEADERS:
            self._headers(flags, stream, payload)
        else:
            self._block = (stream, flags, bytearray(payload))

    def _on_priority(self, flags: int, stream: int, payload: bytes) -> None:
        """Section 6.3: deprecated; ignored."""
        if stream == 0:
            raise FatalError(ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0")
        if len(payload) != 5:
            raise FatalError(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY is not five bytes")
        self._charge()

    def _on_rst_stream(self, flags: int, stream: int, payload: bytes) -> None:
        """Section 6.4: the peer cancels."""
        if len(payload) != 4:
            raise FatalError(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM is not four bytes")
        if stream == 0 or stream > self._last:
            raise FatalError(ErrorCode.PROTOCOL_ERROR, "RST_STREAM on an idle stream")
        self._charge()
        state = self._streams.get(stream)
        if state is not None:
            self.cancelled += 1
            self._forget(stream, state)
            if state.handed:
                self._events.append(events.Cancelled(stream))

    def _on_settings(self, flags: int, stream: int, payload: bytes) -> None:
        """Section 6.5."""
        if stream:
            raise FatalError(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if self.greeted:
            self._charge()
        if flags & frames.ACK:
            if payload:
                raise FatalError(ErrorCode.FRAME_SIZE_ERROR, "a SETTINGS acknowledgement with content")
            if not self.greeted:
                raise FatalError(ErrorCode.PROTOCOL_ERROR, "the first frame is not the peer's SETTINGS")
            self._decoder.forgo()  # the peer knows our HEADER_TABLE_SIZE
            return
        if len(payload) % 6:
            raise FatalError(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a broken length")
        self.greeted = True
        # First the acknowledgement: it tells the peer where the answers begin that make use of them.
        self._out.append(frames.SETTINGS_ACK)
        self._finished(self._outbox.configure(payload, self._streams))

    def _on_push_promise(self, flags: int, stream: int, payload: bytes) -> None:
        """Section 6.6: not for clients."""
        raise FatalError(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE from a client")

    def _on_ping(self, flags: int, stream: int, payload: bytes) -> None:
        """Section 6.7."""
        if stream:
            raise FatalError(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise FatalError(ErrorCode.FRAME_SIZE_ERROR, "PING is not eight bytes")
        self._charge()
        if not flags & frames.ACK:
            self._out.append(frames.ping(payload, ack=True))
        elif self._draining and payload == _DRAIN:
            self.conclude()

    def _on_goaway(self, flags: int, stream: int, payload: bytes) -> None:
        """Section 6.8: the peer opens no more streams and will close; calls under way are answered."""
        if stream:
            raise FatalError(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise FatalError(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY is shorter than eight bytes")
        self._charge()

    def _on_window_update(self, flags: int, stream: int, payload: bytes) -> None:
        """Section 6.9."""
        if len(payload) != 4:
            raise FatalError(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE is not four bytes")
        if stream > self._last:
            raise FatalError(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream")
        self._charge()
        increment = int.from_bytes(payload, "big") & frames.LARGEST_WINDOW
        if stream == 0:
            self._finished(self._outbox.widen(increment))
            return
        state = self._streams.get(stream)
        if state is None:
            return
        state.credit += increment
        if not increment:
            self._reset(stream, ErrorCode.PROTOCOL_ERROR)
        elif self._outbox.initial_window + state.credit > frames.LARGEST_WINDOW:
            self._reset(stream, ErrorCode.FLOW_CONTROL_ERROR)
        elif self._outbox.push(stream, state):
            self._finished([stream])

    def _on_continuation(self, flags: int, stream: int, payload: bytes) -> None:
        """Section 6.10, and its flood (CVE-2024-27316)."""
        if self._block is None or self._block[0] != stream:
            raise FatalError(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        _, first, block = self._block
        block += payload
        self._charge()
        # Compressed, a list is at most a little larger than it counts for; far above is not worth decoding.
        if len(block) > 2 * self._settings.max_header_list + frames.DEFAULT_FRAME_SIZE:
            raise FatalError(ErrorCode.ENHANCE_YOUR_CALM, "a header block without end")
        if flags & frames.END_HEADERS:
            self._block = None
            self._headers(first, stream, bytes(block))

    # Requests (sections 5.1 and 8.1).

    def _headers(self, flags: int, stream: int, block: bytes) -> None:
        """A whole header block: a new request, or the trailers of one."""
        if stream <= self._last:
            self._trailers(flags, stream, block)
            return
        self._last = stream
        head = self._known.get(block) if self._decoder.stateless else None
        if head is None:
            head = self._head(block)
        if stream > self._accepted:
            self._ghost(stream)
            return
        if len(self._streams) >= self._settings.max_concurrent_streams:
            self._reset(stream, ErrorCode.REFUSED_STREAM)
            return
        if head.malformed:
            self._reset(stream, ErrorCode.PROTOCOL_ERROR)
            return
        state = self._streams[stream] = Stream(head)
        state.ended = bool(flags & frames.END_STREAM)
        if head.refusal is not None:
            self.refuse(stream, head.refusal.status, head.refusal.http)
        elif state.ended:
            self._whole(stream, state)

    def _head(self, block: bytes) -> heads.Head:
        """Decodes a block; keeps the outcome where it will always be the same."""
        pairs = self._decode(block)
        head = heads.TOO_LARGE if pairs is None else heads.read(pairs, self._methods)
        if self._decoder.stateless and len(block) <= _BLOCK:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[block] = head
        return head

    def _decode(self, block: bytes) -> list[hpack.Pair] | None:
        try:
            return self._decoder.decode(block, self._settings.max_header_list)
        except hpack.HpackError as failure:
            raise FatalError(ErrorCode.COMPRESSION_ERROR, str(failure)) from failure

    def _trailers(self, flags: int, stream: int, block: bytes) -> None:
        """HEADERS on a stream that was opened before. Decoded in any case: the table must not lose step."""
        pairs = self._decode(block)
        state = self._streams.get(stream)
        if state is None or state.ended:
            self._stray(stream, state)
        elif not flags & frames.END_STREAM or pairs is None or not heads.trailers(pairs):
            self._reset(stream, ErrorCode.PROTOCOL_ERROR)
        else:
            state.ended = True
            self._whole(stream, state)

    def _gather(self, flags: int, stream: int, state: Stream, payload: bytes) -> None:
        """DATA that is not simply one whole message: pieces, padding, or something wrong."""
        state.updated += len(payload)  # 6.9: padding counts
        if flags & frames.PADDED:
            payload = unpadded(flags, payload)
        state.ended = bool(flags & frames.END_STREAM)
        if not payload and not state.ended:
            self._charge()
        state.add(payload)
        self._unfinished += len(payload)
        problem = state.problem(self._settings.max_message)
        if problem is None and self._unfinished > _UNFINISHED:
            problem = base.Status(base.Code.RESOURCE_EXHAUSTED, "too many unfinished messages")
        if problem is not None:
            self.refuse(stream, problem)
        elif state.ended:
            self._whole(stream, state)
        elif state.updated >= self._stream_window // 2:
            self._out.append(frames.window_update(stream, state.updated))
            state.updated = 0

    def _whole(self, stream: int, state: Stream) -> None:
        """The peer has ended the stream: all of the message must be there."""
        if state.head.length is not None and state.head.length != state.received:
            self._reset(stream, ErrorCode.PROTOCOL_ERROR)  # 8.1.1
            return
        message = state.whole()
        if isinstance(message, base.Status):
            self.refuse(stream, message)
            return
        self._release(state)
        state.handed = True
        self._events.append(events.Request(stream, state.head, message))

    def _stray(self, stream: int, state: Stream | None) -> None:
        """DATA or HEADERS where none may come (5.1)."""
        if stream == 0 or stream > self._last:
            raise FatalError(ErrorCode.PROTOCOL_ERROR, "DATA on an idle stream")
        if state is not None:  # half-closed (remote)
            self._reset(stream, ErrorCode.STREAM_CLOSED)
        elif stream in self._ghosts:
            self._charge()
        else:
            raise FatalError(ErrorCode.STREAM_CLOSED, "a frame on a closed stream")

    # Ends (section 5.4).

    def _forget(self, stream: int, state: Stream) -> None:
        """The stream is closed."""
        del self._streams[stream]
        self._outbox.forget(stream)
        self._release(state)

    def _release(self, state: Stream) -> None:
        if state.buffer is not None:
            self._unfinished -= len(state.buffer)
            state.buffer = None

    def _finished(self, streams: list[int]) -> None:
        """Answers that had to wait are sent to the end."""
        for stream in streams:
            self.answered += 1
            self._forget(stream, self._streams[stream])

    def _reset(self, stream: int, code: ErrorCode) -> None:
        """Section 5.4.2: a stream error. Costs patience: resets can be provoked as well as sent."""
        self._charge()
        state = self._streams.get(stream)
        if state is not None:
            self._forget(stream, state)
            if state.handed:
                self.cancelled += 1
                self._events.append(events.Cancelled(stream))
        self._ghost(stream)
        self._out.append(frames.rst_stream(stream, code))

    def _ghost(self, stream: int) -> None:
        """The peer may not know yet that the stream is closed."""
        if len(self._ghosts) >= _GHOSTS:
            del self._ghosts[next(iter(self._ghosts))]
        self._ghosts[stream] = None

    def _charge(self) -> None:
        """One frame that serves no call."""
        if not self._patience.charge(self._now, self.answered):
            raise FatalError(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that serve no call")

    def _abort(self, code: ErrorCode, reason: str) -> None:
        """Section 5.4.1: a connection error."""
        self.fault = reason
        self._events += [events.Cancelled(stream) for stream, state in self._streams.items() if state.handed]
        self._streams.clear()
        self._out.append(frames.goaway(self._last, code, reason))
        self.closed = True

    def _settle(self) -> None:
        """A drained connection without streams has come to its end."""
        if self._accepted != frames.LARGEST_STREAM and not self._streams:
            self.closed = True
