"""The other end for the tests of the state machine: hyper-h2 as a client, and frames made by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import h2.config
import h2.connection
import h2.events
import hpack
import hyperframe.frame

from dragoman.ratelimit.transport import base
from dragoman.ratelimit.transport.http2 import events, frames
from dragoman.ratelimit.transport.http2.connection import Connection

METHOD = "/test.Echo/Say"

HEADERS = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", METHOD),
    (":authority", "test"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
)

Pairs = Sequence[tuple[str, str]]


def headers(*more: tuple[str, str], **instead: str) -> list[tuple[str, str]]:
    """A gRPC request's; `path="/other"` replaces a pseudo-header."""
    return [(name, instead.get(name.lstrip(":"), value)) for name, value in HEADERS] + list(more)


def message(data: bytes, flag: int = 0) -> bytes:
    return bytes((flag,)) + len(data).to_bytes(4, "big") + data


def block(pairs: Pairs) -> bytes:
    """A header block that needs no table."""
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    return encoder.encode(list(pairs))


class Raw:
    """A connection past its greeting, fed with frames made by hand."""

    def __init__(self, *, acknowledged: bool = True, **settings: Any) -> None:
        self.now = 100.0
        self.connection = Connection(base.Settings(**settings), self.now, {METHOD})
        start = frames.PREFACE + frames.settings({})
        self.send(start + (frames.SETTINGS_ACK if acknowledged else b""))
        self.frames()

    def send(self, *data: bytes) -> list[events.Event]:
        return self.connection.receive(b"".join(data), self.now)

    def request(self, stream: int, data: bytes = b"hello", pairs: Pairs = HEADERS) -> list[events.Event]:
        return self.send(open_stream(stream, pairs), frames.frame(0, 1, stream, message(data)))

    def frames(self) -> list[Any]:
        return parse(self.connection.take())

    def kinds(self) -> list[str]:
        return [type(frame).__name__.removesuffix("Frame") for frame in self.frames()]


def open_stream(stream: int, pairs: Pairs = HEADERS, *, flags: int = frames.END_HEADERS) -> bytes:
    return frames.frame(frames.HEADERS, flags, stream, block(pairs))


def parse(data: bytes) -> list[Any]:
    """hyperframe's reading of what was sent; raises if there is anything but whole frames."""
    found = []
    while data:
        frame, length = hyperframe.frame.Frame.parse_frame_header(memoryview(data[:9]))
        assert len(data) >= 9 + length, "an unfinished frame"
        frame.parse_body(memoryview(data[9 : 9 + length]))
        found.append(frame)
        data = data[9 + length :]
    return found


class Client:
    """hyper-h2 and a `Connection` back to back. It raises on whatever the server may not send."""

    def __init__(
        self,
        answer: Callable[[events.Request], bytes | base.Status | None],
        *,
        own: dict[int, int] | None = None,
        **settings: Any,
    ) -> None:
        self._answer = answer
        self.now = 100.0
        self.server = Connection(base.Settings(**settings), self.now, {METHOD})
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        if own:
            self.h2.update_settings(own)
        self.seen: list[Any] = []
        self.requests: list[events.Request] = []
        self.cancelled: list[int] = []
        self.updates = 0
        self._streams = itertools.count(1, 2)
        self.exchange()

    def exchange(self, *, cut: int = 1 << 20) -> None:
        """Carries bytes to and fro until there are none; `cut` is the size of the pieces."""
        while True:
            out = self.h2.data_to_send()
            for place in range(0, len(out), cut):
                self.deliver(out[place : place + cut])
            back = self.server.take()
            self.updates += sum(isinstance(f, hyperframe.frame.WindowUpdateFrame) for f in parse(back))
            for place in range(0, len(back), cut):
                self.seen += self.h2.receive_data(back[place : place + cut])
            if not out and not back:
                return

    def deliver(self, data: bytes) -> None:
        for event in self.server.receive(data, self.now):
            if isinstance(event, events.Cancelled):
                self.cancelled.append(event.stream)
                continue
            self.requests.append(event)
            if self.server.waiting(event.stream):
                self.reply(event.stream, self._answer(event))

    def reply(self, stream: int, answer: bytes | base.Status | None) -> None:
        if isinstance(answer, base.Status):
            self.server.refuse(stream, answer)
        elif answer is not None:
            self.server.respond(stream, answer)

    def call(self, data: bytes = b"hello", *more: tuple[str, str], **instead: str) -> int:
        """Sends a request; returns its stream."""
        stream = next(self._streams)
        self.h2.send_headers(stream, headers(*more, **instead))
        whole = message(data)
        for place in range(0, len(whole), 16_384):
            end = place + 16_384
            self.h2.send_data(stream, whole[place:end], end_stream=end >= len(whole))
        return stream

    def open(self, *more: tuple[str, str], **instead: str) -> int:
        """Sends only the headers of a request."""
        stream = next(self._streams)
        self.h2.send_headers(stream, headers(*more, **instead))
        return stream

    def of(self, stream: int, kind: type[Any]) -> list[Any]:
        return [e for e in self.seen if isinstance(e, kind) and e.stream_id == stream]

    def body(self, stream: int) -> bytes:
        return b"".join(event.data for event in self.of(stream, h2.events.DataReceived))

    def status(self, stream: int) -> tuple[str, str]:
        """grpc-status and grpc-message; the stream has been ended."""
        assert self.of(stream, h2.events.StreamEnded), "the stream is still open"
        kinds = (h2.events.ResponseReceived, h2.events.TrailersReceived)
        found: dict[str, str] = {}
        for event in self.seen:
            if isinstance(event, kinds) and event.stream_id == stream:
                found |= dict(event.headers)
        return found["grpc-status"], found.get("grpc-message", "")
