"""The HTTP/2 state machine against hyper-h2: what a peer that keeps to the rules sees."""

from __future__ import annotations

import h2.events
import h2.settings
import hpack
import pytest

from dragoman.ratelimit.transport import base
from dragoman.ratelimit.transport.http2 import events, frames, head as heads
from dragoman.ratelimit.transport.http2.connection import Connection
from tests.unit.ratelimit.transport.peer import (
    HEADERS,
    METHOD,
    Client,
    Raw,
    block,
    headers,
    message,
    open_stream,
)

INITIAL = h2.settings.SettingCodes.INITIAL_WINDOW_SIZE


def echo(request: events.Request) -> bytes:
    return request.message[::-1]


def later(_: events.Request) -> None:
    return None


def test_a_call_is_answered_with_a_message_and_a_status() -> None:
    client = Client(echo)
    stream = client.call(b"hello", ("grpc-timeout", "20m"), ("x-tenant", "gold"))
    client.exchange()
    (request,) = client.requests
    assert (request.message, request.head.path, request.head.timeout) == (b"hello", METHOD, 0.02)
    assert request.head.metadata == (("x-tenant", "gold"),)
    (response,) = client.of(stream, h2.events.ResponseReceived)
    assert dict(response.headers) == {":status": "200", "content-type": "application/grpc"}
    assert client.body(stream) == message(b"olleh")
    assert client.status(stream) == ("0", "")
    assert client.server.open_streams == 0


@pytest.mark.parametrize("cut", [1, 2, 7, 100])
def test_bytes_may_be_cut_anywhere(cut: int) -> None:
    client = Client(echo)
    streams = [client.call(bytes([n]) * n) for n in range(20)]
    client.exchange(cut=cut)
    assert [client.body(s) for s in streams] == [message(bytes([n]) * n) for n in range(20)]


def test_the_dynamic_table_is_followed_until_the_peer_knows_that_there_is_none() -> None:
    raw = Raw(acknowledged=False)
    encoder = hpack.Encoder()
    pairs = headers(("x-tenant", "gold"))
    first, second = encoder.encode(pairs), encoder.encode(pairs)
    assert len(second) < 20 < len(first)
    data = frames.frame(frames.DATA, frames.END_STREAM, 1, message(b"a"))
    (one,) = raw.send(frames.frame(frames.HEADERS, frames.END_HEADERS, 1, first), data)
    (two,) = raw.send(
        frames.frame(frames.HEADERS, frames.END_HEADERS, 3, second),
        frames.frame(frames.DATA, frames.END_STREAM, 3, message(b"b")),
        frames.SETTINGS_ACK,
    )
    encoder.header_table_size = 0
    (three,) = raw.send(
        frames.frame(frames.HEADERS, frames.END_HEADERS, 5, encoder.encode(pairs)),
        frames.frame(frames.DATA, frames.END_STREAM, 5, message(b"c")),
    )
    for event in (one, two, three):
        assert isinstance(event, events.Request)
        assert event.head.metadata == (("x-tenant", "gold"),)


def test_a_block_is_decoded_once_when_there_is_no_table() -> None:
    raw = Raw()
    raw.send(frames.frame(frames.HEADERS, frames.END_HEADERS, 1, b"\x20" + block(HEADERS)))
    first, second = raw.request(3), raw.request(5)
    assert isinstance(first[0], events.Request)
    assert isinstance(second[0], events.Request)
    assert first[0].head is second[0].head


def test_a_message_may_come_in_pieces_with_padding_and_continuation() -> None:
    raw = Raw()
    whole = block(headers(("x-long", "v" * 3000)))
    data = message(b"in pieces")
    sent = [frames.frame(frames.HEADERS, 0, 1, whole[:10])]
    sent += [frames.frame(frames.CONTINUATION, 0, 1, whole[10:2000])]
    sent += [frames.frame(frames.CONTINUATION, frames.END_HEADERS, 1, whole[2000:])]
    sent += [frames.frame(frames.DATA, frames.PADDED, 1, b"\x03" + data[:3] + b"\0" * 3)]
    sent += [frames.frame(frames.DATA, 0, 1, data[3:8])]
    sent += [frames.frame(frames.DATA, frames.END_STREAM, 1, data[8:])]
    (event,) = raw.send(*sent)
    assert isinstance(event, events.Request)
    assert event.message == b"in pieces"


def test_headers_may_be_padded_prioritised_and_followed_by_trailers() -> None:
    raw = Raw()
    payload = b"\x02" + b"\0\0\0\0\x10" + block(HEADERS) + b"\0\0"
    flags = frames.END_HEADERS | frames.PADDED | frames.PRIORITISED
    (event,) = raw.send(
        frames.frame(frames.HEADERS, flags, 1, payload),
        frames.frame(frames.DATA, 0, 1, message(b"hello")),
        open_stream(1, [("x-checksum", "1")], flags=frames.END_HEADERS | frames.END_STREAM),
    )
    assert isinstance(event, events.Request)
    assert event.message == b"hello"


def test_answers_keep_to_the_streams_window() -> None:
    client = Client(lambda _: b"x" * 100_000, own={INITIAL: 10})
    stream = client.call()
    client.exchange()
    assert len(client.body(stream)) == 10
    client.h2.update_settings({INITIAL: 100})
    client.exchange()
    assert len(client.body(stream)) == 100
    client.h2.increment_flow_control_window(60_000, stream)
    client.exchange()
    assert len(client.body(stream)) == 60_100
    client.h2.increment_flow_control_window(60_000, stream)
    client.exchange()
    assert len(client.body(stream)) == 65_535  # the connection's
    client.h2.increment_flow_control_window(100_000)
    client.exchange()
    assert client.body(stream) == message(b"x" * 100_000)
    assert client.status(stream) == ("0", "")


def test_a_window_may_shrink_below_what_is_sent() -> None:
    client = Client(lambda _: b"x" * 995, own={INITIAL: 600})
    stream = client.call()
    client.exchange()
    client.h2.update_settings({INITIAL: 100})
    client.exchange()
    client.h2.increment_flow_control_window(500, stream)  # 600 sent of 100 + 500: nothing yet
    client.exchange()
    assert len(client.body(stream)) == 600
    client.h2.increment_flow_control_window(400, stream)
    client.exchange()
    assert len(client.body(stream)) == 1000
    assert client.status(stream) == ("0", "")


def test_answers_that_wait_for_the_connections_window_go_out_in_order() -> None:
    client = Client(lambda _: b"x" * 20_000)
    streams = [client.call() for _ in range(6)]
    client.exchange()
    assert [len(client.body(s)) for s in streams] == [20_005, 20_005, 20_005, 5520, 0, 0]
    client.h2.increment_flow_control_window(20_000)
    client.exchange()
    assert [len(client.body(s)) for s in streams] == [20_005] * 4 + [5515, 0]
    client.h2.reset_stream(streams[4])
    client.h2.increment_flow_control_window(20_005)
    client.exchange()
    assert len(client.body(streams[5])) == 20_005
    assert client.server.open_streams == 0


def test_small_answers_use_up_the_connections_window_too() -> None:
    client = Client(lambda _: b"x" * 200)
    streams = [client.call() for _ in range(400)]
    client.exchange()
    assert sum(len(client.body(s)) for s in streams) == 65_535
    client.h2.increment_flow_control_window(1 << 20)
    client.exchange()
    assert {client.body(s) for s in streams} == {message(b"x" * 200)}
    assert client.server.open_streams == 0


def test_an_answer_that_waits_for_its_own_stream_holds_up_nobody() -> None:
    client = Client(lambda request: b"x" * (1000 if request.message == b"large" else 10), own={INITIAL: 100})
    large, small = client.call(b"large"), client.call(b"small")
    client.exchange()
    assert len(client.body(large)) == 100
    assert client.body(small) == message(b"x" * 10)
    client.h2.increment_flow_control_window(905, large)
    client.exchange()
    assert client.body(large) == message(b"x" * 1000)


def test_an_answer_goes_on_where_the_connections_window_cut_it() -> None:
    client = Client(lambda _: b"x" * 50_000)
    streams = [client.call() for _ in range(3)]
    client.exchange()
    for _ in range(10):
        client.h2.increment_flow_control_window(9000)
        client.exchange()
    assert {client.body(s) for s in streams} == {message(b"x" * 50_000)}


def test_nothing_is_left_of_messages_that_came_in_pieces() -> None:
    raw = Raw()
    for stream in range(1, 20, 2):
        raw.send(open_stream(stream), frames.frame(frames.DATA, 0, stream, message(b"hello")[:4]))
        raw.send(frames.frame(frames.DATA, frames.END_STREAM, stream, message(b"hello")[4:]))
        raw.connection.respond(stream, b"")
    assert raw.connection._unfinished == 0


def test_blocks_that_use_a_table_are_not_shared_between_connections() -> None:
    known: dict[bytes, heads.Head] = {}
    found = []
    for tenant in ("gold", "silver"):
        connection = Connection(base.Settings(), 0.0, {METHOD}, known)
        encoder = hpack.Encoder()
        pairs = headers(("x-tenant", tenant))
        sent = [frames.PREFACE + frames.settings({})]
        for stream in (1, 3):
            sent.append(frames.frame(frames.HEADERS, frames.END_HEADERS, stream, encoder.encode(pairs)))
            sent.append(frames.frame(frames.DATA, frames.END_STREAM, stream, message(b"")))
        found += connection.receive(b"".join(sent), 0.0)
    tenants = [event.head.metadata[0][1] for event in found if isinstance(event, events.Request)]
    assert tenants == ["gold", "gold", "silver", "silver"]
    assert known == {}


def test_a_known_block_is_read_again_where_there_is_a_table() -> None:
    known: dict[bytes, heads.Head] = {}
    encoder = hpack.Encoder()
    first, second = encoder.encode(headers()), encoder.encode(headers())
    start = frames.PREFACE + frames.settings({})
    without = Connection(base.Settings(), 0.0, {METHOD}, known)
    without.receive(
        start + frames.SETTINGS_ACK + frames.frame(frames.HEADERS, frames.END_HEADERS, 1, first), 0.0
    )
    assert first in known
    having = Connection(base.Settings(), 0.0, {METHOD}, known)
    sent = [frames.frame(frames.HEADERS, frames.END_HEADERS, n, b) for n, b in ((1, first), (3, second))]
    having.receive(start + b"".join(sent), 0.0)
    assert not having.fault


def test_large_answers_are_cut_to_the_peers_frame_size() -> None:
    raw = Raw()
    raw.request(1)
    raw.connection.respond(1, b"x" * 40_000)
    assert [len(f.data) for f in raw.frames() if hasattr(f, "data")][1:-1] == [16_384, 16_384, 7237]


def test_requests_never_wait_for_a_window_and_updates_come_in_batches() -> None:
    client = Client(lambda _: b"ok")
    calls = 300
    for _ in range(calls):
        client.call(b"r" * 60_000)
        client.exchange()
    assert client.server.answered == calls
    assert 8 <= client.updates <= 10  # 18 MB, 2 at a time, and the greeting's


def test_a_stream_that_is_all_padding_gets_its_window_back() -> None:
    client = Client(echo)
    stream = client.open()
    data = message(b"z" * 600)
    for byte in data[:-1]:
        client.h2.send_data(stream, bytes([byte]), pad_length=255)
        client.exchange()
    client.h2.send_data(stream, data[-1:], end_stream=True)
    client.exchange()
    assert client.body(stream) == message(b"z" * 600)


def test_a_cancelled_call_is_reported_and_its_answer_dropped() -> None:
    client = Client(later)
    stream, other = client.call(), client.call()
    client.exchange()
    client.h2.reset_stream(stream, 8)
    client.exchange()
    assert client.cancelled == [stream]
    assert not client.server.waiting(stream)
    client.server.respond(stream, b"too late")
    client.server.respond(other, b"in time")
    client.exchange()
    assert client.body(stream) == b""
    assert client.body(other) == message(b"in time")


def test_pings_and_settings_are_acknowledged() -> None:
    client = Client(echo)
    client.h2.ping(b"12345678")
    client.exchange()
    assert [e.ping_data for e in client.seen if isinstance(e, h2.events.PingAckReceived)] == [b"12345678"]
    assert any(isinstance(e, h2.events.SettingsAcknowledged) for e in client.seen)


def test_a_drain_takes_what_is_under_way_and_nothing_after() -> None:
    raw = Raw()
    raw.request(1)
    raw.connection.drain()
    first = raw.frames()
    assert [type(f).__name__ for f in first] == ["GoAwayFrame", "PingFrame"]
    assert first[0].last_stream_id == frames.LARGEST_STREAM
    raw.request(3)  # was under way when the peer had not read GOAWAY
    raw.send(frames.ping(first[1].opaque_data, ack=True))
    (second,) = raw.frames()
    assert second.last_stream_id == 3
    assert not raw.request(5)
    assert not raw.connection.closed
    raw.connection.respond(1, b"1")
    raw.connection.respond(3, b"3")
    raw.send(frames.ping(b"12345678"))
    assert {f.stream_id for f in raw.frames()} == {0, 1, 3}
    assert raw.connection.closed
    assert raw.connection.fault == ""


def test_a_drain_without_calls_ends_at_once() -> None:
    raw = Raw()
    raw.connection.conclude()
    assert raw.kinds() == ["GoAway", "Ping", "GoAway"]
    assert raw.connection.closed


@pytest.mark.parametrize(
    ("pairs", "data", "status"),
    [
        (headers(path="/other.Service/Method"), None, ("12", "there is no such method here")),
        (headers(("grpc-timeout", "soon")), None, ("13", "malformed grpc-timeout")),
        (headers(("grpc-timeout", "0m")), None, ("4", "the deadline has passed")),
        (headers(("x-big", "v" * 140_000)), None, ("8", "the request's headers are too large")),
        (headers(), b"", ("12", "no message for a unary method")),
        (headers(), message(b"a") * 2, ("12", "more than one message for a unary method")),
        (headers(), message(b"abc")[:-1], ("13", "a message that ends too early")),
        (headers(), b"\0\0", ("13", "a message that ends too early")),
        (headers(), message(b"a", flag=1), ("13", "a compressed message without grpc-encoding")),
        (headers(), message(b"a", flag=7), ("13", "a message with an unknown flag")),
        (
            headers(("grpc-encoding", "gzip")),
            message(b"a", flag=1),
            ("12", "compressed messages are not supported"),
        ),
        (
            headers(),
            b"\0\0\x50\0\0" + b"x" * 20_000,
            ("8", "a message of 5242880 bytes; at most 4194304 are taken"),
        ),
    ],
)
def test_what_cannot_be_served_gets_a_status(
    pairs: list[tuple[str, str]], data: bytes | None, status: tuple[str, str]
) -> None:
    client = Client(echo)
    stream = 1
    client.h2.send_headers(stream, pairs)
    client.exchange()
    if data is not None:
        for place in range(0, len(data), 16_000):
            if client.of(stream, h2.events.StreamEnded):
                break
            rest = data[place : place + 16_000]
            client.h2.send_data(stream, rest, end_stream=place + 16_000 >= len(data))
            client.exchange()
        if not data:
            client.h2.end_stream(stream)
            client.exchange()
    assert client.status(stream) == status
    assert not client.requests
    assert client.server.open_streams == 0
    # The connection has taken no harm.
    client.h2.send_headers(3, headers())
    client.h2.send_data(3, message(b"hello"), end_stream=True)
    client.exchange()
    assert client.body(3) == message(b"olleh")


def test_a_compressing_peer_is_told_what_is_taken() -> None:
    client = Client(echo)
    client.h2.send_headers(1, headers(("grpc-encoding", "gzip")))
    client.h2.send_data(1, message(b"a", flag=1), end_stream=True)
    client.exchange()
    (response,) = client.of(1, h2.events.ResponseReceived)
    assert dict(response.headers)["grpc-accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("pairs", "status"),
    [
        (headers(method="GET"), "405"),
        ([pair for pair in HEADERS if pair[0] != "content-type"], "415"),
        ([*HEADERS[:-1], ("content-type", "application/grpcx")], "415"),
        ([*HEADERS[:-1], ("content-type", "application/grpc+proto")], None),
    ],
)
def test_what_is_no_grpc_gets_an_http_status(pairs: list[tuple[str, str]], status: str | None) -> None:
    client = Client(echo)
    client.h2.send_headers(1, pairs)
    client.h2.send_data(1, message(b"hello"), end_stream=True)
    client.exchange()
    (response,) = client.of(1, h2.events.ResponseReceived)
    assert dict(response.headers)[":status"] == (status or "200")


def test_statuses_are_percent_encoded() -> None:
    client = Client(lambda _: base.Status(base.Code.UNAVAILABLE, "100 % größe\n"))
    stream = client.call()
    client.exchange()
    assert client.status(stream) == ("14", "100 %25 gr%C3%B6%C3%9Fe%0A")


def test_requests_beyond_the_streams_limit_are_refused() -> None:
    raw = Raw(max_concurrent_streams=2)
    raw.request(1)
    raw.request(3)
    assert not raw.request(5)
    (reset,) = raw.frames()
    assert (reset.stream_id, reset.error_code) == (5, frames.ErrorCode.REFUSED_STREAM)
    raw.connection.respond(1, b"")
    assert raw.request(7)


def test_unfinished_messages_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dragoman.ratelimit.transport.http2.connection._UNFINISHED", 100_000)
    raw = Raw()
    piece = message(b"x" * 60_000)[:16_000]
    for stream in range(1, 41, 2):
        raw.send(open_stream(stream), frames.frame(frames.DATA, 0, stream, piece))
    refused = [f.stream_id for f in raw.frames() if type(f).__name__ == "HeadersFrame"]
    assert refused
    assert raw.connection._unfinished <= 100_000
    for stream in range(1, 41, 2):
        raw.send(frames.rst_stream(stream, frames.ErrorCode.CANCEL))
    assert raw.connection._unfinished == 0
