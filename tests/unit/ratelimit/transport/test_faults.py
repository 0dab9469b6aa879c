"""The HTTP/2 state machine and peers that break the rules: errors by section of RFC 9113, and floods."""

from __future__ import annotations

import pytest

from dragoman.ratelimit.transport import base
from dragoman.ratelimit.transport.http2 import events, frames
from dragoman.ratelimit.transport.http2.connection import Connection
from dragoman.ratelimit.transport.http2.frames import ErrorCode
from tests.unit.ratelimit.transport.peer import HEADERS, Pairs, Raw, block, headers, message, open_stream

frame = frames.frame
END = frames.END_HEADERS
BROKEN = {
    "4.2 frame above MAX_FRAME_SIZE": ([frame(frames.DATA, 0, 1, b"x" * 16_385)], "FRAME_SIZE_ERROR"),
    "4.3 block that is no HPACK": (
        [frame(frames.HEADERS, END, 1, b"\xff\xff\xff\xff\xff\xff")],
        "COMPRESSION_ERROR",
    ),
    "4.3 index outside the table": ([frame(frames.HEADERS, END, 1, b"\xbe")], "COMPRESSION_ERROR"),
    "4.3 table above the limit": ([frame(frames.HEADERS, END, 1, b"\x3f\x01")], "COMPRESSION_ERROR"),
    "4.3 block interrupted": ([frame(frames.HEADERS, 0, 1, b""), frames.ping(b"12345678")], "PROTOCOL_ERROR"),
    "5.1 DATA on an idle stream": ([frame(frames.DATA, 0, 1, b"x")], "PROTOCOL_ERROR"),
    "5.1 RST_STREAM on an idle stream": ([frames.rst_stream(1, ErrorCode.CANCEL)], "PROTOCOL_ERROR"),
    "5.1 WINDOW_UPDATE on an idle stream": ([frames.window_update(1, 1)], "PROTOCOL_ERROR"),
    "5.1.1 an even stream": ([open_stream(2)], "PROTOCOL_ERROR"),
    "5.1.1 stream 0": ([open_stream(0)], "PROTOCOL_ERROR"),
    "5.1.1 a stream below the last": ([open_stream(5), open_stream(3)], "STREAM_CLOSED"),
    "6.1 DATA on stream 0": ([frame(frames.DATA, 0, 0, b"x")], "PROTOCOL_ERROR"),
    "6.1 padding longer than the frame": (
        [open_stream(1), frame(frames.DATA, frames.PADDED, 1, b"\x05abc")],
        "PROTOCOL_ERROR",
    ),
    "6.1 padding without a length": (
        [open_stream(1), frame(frames.DATA, frames.PADDED, 1)],
        "PROTOCOL_ERROR",
    ),
    "6.2 HEADERS without its priority": (
        [frame(frames.HEADERS, END | frames.PRIORITISED, 1, b"\0\0")],
        "FRAME_SIZE_ERROR",
    ),
    "6.3 PRIORITY on stream 0": ([frame(frames.PRIORITY, 0, 0, bytes(5))], "PROTOCOL_ERROR"),
    "6.3 PRIORITY of four bytes": ([frame(frames.PRIORITY, 0, 1, bytes(4))], "FRAME_SIZE_ERROR"),
    "6.4 RST_STREAM of three bytes": (
        [open_stream(1), frame(frames.RST_STREAM, 0, 1, bytes(3))],
        "FRAME_SIZE_ERROR",
    ),
    "6.5 SETTINGS on a stream": ([frame(frames.SETTINGS, 0, 1)], "PROTOCOL_ERROR"),
    "6.5 SETTINGS of five bytes": ([frame(frames.SETTINGS, 0, 0, bytes(5))], "FRAME_SIZE_ERROR"),
    "6.5 acknowledgement with content": (
        [frame(frames.SETTINGS, frames.ACK, 0, bytes(6))],
        "FRAME_SIZE_ERROR",
    ),
    "6.5.2 ENABLE_PUSH 2": ([frames.settings({frames.ENABLE_PUSH: 2})], "PROTOCOL_ERROR"),
    "6.5.2 INITIAL_WINDOW_SIZE": (
        [frames.settings({frames.INITIAL_WINDOW_SIZE: 1 << 31})],
        "FLOW_CONTROL_ERROR",
    ),
    "6.5.2 MAX_FRAME_SIZE": ([frames.settings({frames.MAX_FRAME_SIZE: 100})], "PROTOCOL_ERROR"),
    "6.6 PUSH_PROMISE": ([frame(frames.PUSH_PROMISE, 0, 1, bytes(8))], "PROTOCOL_ERROR"),
    "6.7 PING on a stream": ([frame(frames.PING, 0, 1, bytes(8))], "PROTOCOL_ERROR"),
    "6.7 PING of seven bytes": ([frame(frames.PING, 0, 0, bytes(7))], "FRAME_SIZE_ERROR"),
    "6.8 GOAWAY on a stream": ([frame(frames.GOAWAY, 0, 1, bytes(8))], "PROTOCOL_ERROR"),
    "6.8 GOAWAY of seven bytes": ([frame(frames.GOAWAY, 0, 0, bytes(7))], "FRAME_SIZE_ERROR"),
    "6.9 WINDOW_UPDATE of nothing": ([frames.window_update(0, 0)], "PROTOCOL_ERROR"),
    "6.9 WINDOW_UPDATE of three bytes": ([frame(frames.WINDOW_UPDATE, 0, 0, bytes(3))], "FRAME_SIZE_ERROR"),
    "6.9.1 connection window": ([frames.window_update(0, frames.LARGEST_WINDOW)], "FLOW_CONTROL_ERROR"),
    "6.9.2 settings that burst a window": (
        [
            open_stream(1),
            frames.window_update(1, 1 << 20),
            frames.settings({frames.INITIAL_WINDOW_SIZE: frames.LARGEST_WINDOW}),
        ],
        "FLOW_CONTROL_ERROR",
    ),
    "6.10 CONTINUATION of nothing": ([frame(frames.CONTINUATION, 0, 1, b"")], "PROTOCOL_ERROR"),
    "6.10 CONTINUATION of another stream": (
        [frame(frames.HEADERS, 0, 1, b""), frame(frames.CONTINUATION, END, 3, b"")],
        "PROTOCOL_ERROR",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_connection_errors(name: str) -> None:
    sent, code = BROKEN[name]
    raw = Raw()
    raw.send(*sent)
    assert raw.connection.closed
    last = raw.frames()[-1]
    assert type(last).__name__ == "GoAwayFrame"
    assert last.error_code == ErrorCode[code]
    assert raw.connection.fault
    assert raw.send(open_stream(1)) == []


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        frames.PREFACE + frames.ping(b"12345678"),
        frames.PREFACE + frames.SETTINGS_ACK,
    ],
)
def test_a_connection_begins_with_preface_and_settings(start: bytes) -> None:
    connection = Connection(base.Settings(), 0.0, ())
    assert connection.receive(start, 0.0) == []
    assert connection.closed
    assert not connection.greeted


MALFORMED: dict[str, Pairs] = {
    "8.2.1 capital letters": headers(("X-Tenant", "a")),
    "8.2.1 line break": headers(("x-tenant", "a\r\nb")),
    "8.2.1 space at the end": headers(("x-tenant", "a ")),
    "8.2.2 connection": headers(("connection", "close")),
    "8.2.2 te": headers(("te", "gzip")),
    "8.3 pseudo-header after a field": [*HEADERS[1:], HEADERS[0]],
    "8.3 unknown pseudo-header": [(":status", "200"), *HEADERS],
    "8.3 repeated pseudo-header": [HEADERS[0], *HEADERS],
    "8.3.1 no path": [pair for pair in HEADERS if pair[0] != ":path"],
    "8.3.1 no method": [pair for pair in HEADERS if pair[0] != ":method"],
    "8.1.1 content-length": headers(("content-length", "7")),
    "8.1.1 content-length no number": headers(("content-length", "x")),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_requests_are_stream_errors(name: str) -> None:
    raw = Raw()
    assert not raw.request(1, b"hello", MALFORMED[name])
    (reset,) = raw.frames()
    assert (reset.stream_id, reset.error_code) == (1, ErrorCode.PROTOCOL_ERROR)
    assert raw.request(3)


def test_other_stream_errors() -> None:
    raw = Raw()
    raw.request(1)
    (cancelled,) = raw.send(frame(frames.DATA, 0, 1, b"more"))  # half-closed (remote)
    assert isinstance(cancelled, events.Cancelled)
    raw.request(3)
    raw.send(frames.window_update(3, 0))
    raw.request(5)
    raw.send(frames.window_update(5, frames.LARGEST_WINDOW))
    raw.send(open_stream(7), open_stream(7, [(":path", "/")], flags=END | frames.END_STREAM))
    raw.send(open_stream(9), open_stream(9, [("a", "b")]))
    found = {f.stream_id: ErrorCode(f.error_code).name for f in raw.frames()}
    assert found == {
        1: "STREAM_CLOSED",
        3: "PROTOCOL_ERROR",
        5: "FLOW_CONTROL_ERROR",
        7: "PROTOCOL_ERROR",
        9: "PROTOCOL_ERROR",
    }


def test_the_rest_of_a_refused_request_is_passed_over() -> None:
    raw = Raw()
    raw.send(open_stream(1, headers(path="/nowhere")))
    assert raw.kinds() == ["Headers", "RstStream"]
    raw.send(frame(frames.DATA, 0, 1, b"x" * 100), frame(frames.DATA, frames.END_STREAM, 1, b"x"))
    assert raw.kinds() == []
    assert raw.request(3)


def test_frames_on_a_stream_that_the_peer_closed_end_the_connection() -> None:
    raw = Raw()
    raw.request(1)
    raw.connection.respond(1, b"")
    raw.send(frame(frames.DATA, 0, 1, b"x"))
    assert raw.frames()[-1].error_code == ErrorCode.STREAM_CLOSED


def _resets(n: int) -> bytes:
    """CVE-2023-44487."""
    return open_stream(2 * n + 1) + frames.rst_stream(2 * n + 1, ErrorCode.CANCEL)


def _made(n: int) -> bytes:
    """CVE-2025-8671: the server is made to reset."""
    stream = 2 * n + 1
    return open_stream(stream) + frame(frames.DATA, 1, stream, message(b"")) + frames.window_update(stream, 0)


FLOODS = {
    "PING": lambda n: frames.ping(n.to_bytes(8, "big")),
    "PING acknowledgements": lambda n: frames.ping(n.to_bytes(8, "big"), ack=True),
    "SETTINGS": lambda n: frames.settings({3: n}),
    "PRIORITY": lambda n: frame(frames.PRIORITY, 0, 2 * n + 1, bytes(5)),
    "WINDOW_UPDATE": lambda n: frames.window_update(0, 1),
    "GOAWAY": lambda n: frames.goaway(0, ErrorCode.NO_ERROR),
    "empty DATA": lambda n: (b"" if n else open_stream(1)) + frame(frames.DATA, 0, 1),
    "empty CONTINUATION": lambda n: frame(frames.CONTINUATION if n else frames.HEADERS, 0, 1),
    "unknown frames": lambda n: frame(0x42, 0, 0, b"x"),
    "rapid reset": _resets,
    "made resets": _made,
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods_end_the_connection(name: str) -> None:
    raw = Raw(patience=100)
    sent = 0
    while not raw.connection.closed:
        raw.send(FLOODS[name](sent))
        sent += 1
        assert sent < 200
    assert sent > 45  # a made reset costs two frames
    assert raw.frames()[-1].error_code == ErrorCode.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("name", sorted(set(FLOODS) - {"empty CONTINUATION", "GOAWAY"}))
def test_what_comes_now_and_then_is_no_flood(name: str) -> None:
    raw = Raw(patience=100)
    for n in range(1000):
        raw.send(FLOODS[name](n))
        raw.now += 0.1
    assert not raw.connection.closed


def test_calls_that_are_answered_pay_for_frames_around_them() -> None:
    raw = Raw(patience=10)
    for n in range(1000):
        stream = 2 * n + 1
        raw.request(stream)
        raw.send(frames.window_update(0, 10))
        raw.connection.respond(stream, b"12345")
    assert not raw.connection.closed


def test_a_header_block_without_end() -> None:
    raw = Raw(max_header_list=8 * 1024)
    raw.send(frame(frames.HEADERS, 0, 1, block(HEADERS)))
    sent = 0
    while not raw.connection.closed:
        raw.send(frame(frames.CONTINUATION, 0, 1, b"\x00\x01a\x01b" * 1000))
        sent += 1
        assert sent < 20
    assert raw.frames()[-1].error_code == ErrorCode.ENHANCE_YOUR_CALM
