"""The HTTP/2 state machine under Hypothesis.

Two kinds of peer: one that sends whatever it likes, where nothing may be raised and every byte that comes
back is a whole frame; and hyper-h2 doing legal things in any order, where it must never find fault
with us, and every call that it did not take back gets its answer to the last byte.
"""

from __future__ import annotations

import itertools
from typing import Any

import h2.events
import h2.exceptions
import h2.settings
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from dragoman.ratelimit.transport import base
from dragoman.ratelimit.transport.http2 import events, frames
from dragoman.ratelimit.transport.http2.connection import Connection
from tests.unit.ratelimit.transport.peer import (
    HEADERS,
    METHOD,
    Client,
    block,
    headers,
    message,
    open_stream,
    parse,
)

SETTINGS = base.Settings(max_message=2000, max_header_list=2000, max_concurrent_streams=5, patience=50)

STREAMS = st.integers(0, 9) | st.sampled_from([frames.LARGEST_STREAM, 1 << 31])
BLOCKS = st.sampled_from([block(HEADERS), block(headers(("x-a", "b" * 300))), b"\x20", b""]) | st.binary(
    max_size=20
)
MESSAGES = st.sampled_from([message(b"hello"), message(b"x" * 3000), message(b"z", flag=1), b"\0\0\0"])


@st.composite
def some_frames(draw: st.DrawFn) -> bytes:
    """One frame: any at all, or one that could be right."""
    stream = draw(STREAMS)
    kind = draw(st.integers(0, 11))
    if draw(st.booleans()):
        flags = draw(st.integers(0, 255))
        return frames.frame(kind, flags, stream, draw(st.binary(max_size=40)))
    match kind:
        case frames.DATA:
            return frames.frame(kind, draw(st.sampled_from([0, 1, 8])), stream, draw(MESSAGES))
        case frames.HEADERS | frames.CONTINUATION:
            return frames.frame(kind, draw(st.sampled_from([0, 1, 4, 5])), stream, draw(BLOCKS))
        case frames.SETTINGS:
            names, values = st.integers(0, 8), st.integers(0, 1 << 17) | st.just(frames.LARGEST_WINDOW)
            return frames.settings(draw(st.dictionaries(names, values, max_size=3)))
        case frames.WINDOW_UPDATE:
            return frames.window_update(stream, draw(st.integers(0, frames.LARGEST_WINDOW)))
        case frames.PING:
            return frames.ping(draw(st.sampled_from([b"dragoman", b"12345678"])), ack=draw(st.booleans()))
        case _:
            return frames.frame(kind, 0, stream, draw(st.binary(max_size=8)))


def drive(data: bytes, cuts: list[int], answer: int) -> list[Any]:
    """Feeds `data` in pieces, answers what comes out, and returns the frames that came back."""
    connection = Connection(SETTINGS, 0.0, {METHOD})
    back = connection.take()
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    now = 0.0
    waiting: list[int] = []
    for start, end in itertools.pairwise(places):
        now += 0.01
        came = connection.receive(data[start:end], now)
        waiting += [event.stream for event in came if isinstance(event, events.Request)]
        if len(waiting) > answer % 3:
            for stream in waiting:
                connection.respond(stream, b"r" * (answer % 500))
            waiting.clear()
        if answer % 7 == 0:
            connection.drain()
        back += connection.take()
        check(connection)
    found = parse(back)
    if connection.fault:
        assert type(found[-1]).__name__ == "GoAwayFrame"
    return found


def check(connection: Connection) -> None:
    assert connection._outbox.window >= 0
    held = sum(len(s.buffer) for s in connection._streams.values() if s.buffer is not None)
    if not connection.closed:
        assert connection._unfinished == held
    assert len(connection._streams) <= SETTINGS.max_concurrent_streams
    assert set(connection._outbox._queue) <= set(connection._streams) or connection.closed


@given(
    st.binary(max_size=400), st.booleans(), st.lists(st.integers(0, 1000), max_size=5), st.integers(0, 1000)
)
def test_any_bytes(data: bytes, greeted: bool, cuts: list[int], answer: int) -> None:
    start = frames.PREFACE + frames.settings({}) if greeted else b""
    drive(start + data, cuts, answer)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(some_frames(), max_size=30),
    st.booleans(),
    st.lists(st.integers(0, 1 << 16), max_size=10),
    st.integers(0, 1000),
)
def test_any_frames(sent: list[bytes], stateless: bool, cuts: list[int], answer: int) -> None:
    start = frames.PREFACE + frames.settings({})
    if stateless:
        start += frames.SETTINGS_ACK + open_stream(1) + frames.frame(0, 1, 1, message(b"hello"))
    drive(start + b"".join(sent), cuts, answer)


@settings(max_examples=100, deadline=None)
@given(st.lists(some_frames(), max_size=15), st.lists(st.integers(0, 1 << 16), max_size=10))
def test_cuts_change_nothing(sent: list[bytes], cuts: list[int]) -> None:
    data = frames.PREFACE + frames.settings({}) + b"".join(sent)
    one, many = [Connection(SETTINGS, 0.0, {METHOD}) for _ in range(2)]
    whole = [(type(e), e.stream) for e in one.receive(data, 0.0)]
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    cut_up: list[tuple[type[Any], int]] = []
    for start, end in itertools.pairwise(places):
        cut_up += [(type(e), e.stream) for e in many.receive(data[start:end], 0.0)]
    assert whole == cut_up
    assert one.take() == many.take()


class Legal(RuleBasedStateMachine):
    """hyper-h2 as the client; the service answers when the machine says so."""

    streams = Bundle("streams")

    @initialize(
        window=st.sampled_from([0, 1, 100, 65_535]),
        table=st.booleans(),
    )
    def connect(self, window: int, table: bool) -> None:
        own = {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window}
        self.client = Client(lambda _: None, own=own, patience=100_000)
        self.window = window
        self.sent: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.taken_back: set[int] = set()
        self.expected: dict[int, bytes] = {}
        self.number = 0

    def live(self, stream: int) -> bool:
        return stream not in self.ended and stream not in self.taken_back

    @rule(
        target=streams,
        more=st.lists(st.tuples(st.sampled_from(["x-a", "x-b"]), st.text("abc", max_size=9)), max_size=3),
    )
    def open(self, more: list[tuple[str, str]]) -> int:
        stream = self.client.open(*more)
        self.sent[stream] = b""
        return stream

    @rule(stream=streams, data=st.binary(min_size=1, max_size=500))
    def write(self, stream: int, data: bytes) -> None:
        """More of the message. Its prefix says how long it will be, so it is sent when it is complete."""
        if self.live(stream) and len(self.sent[stream]) < 1500:
            self.sent[stream] += data

    @rule(
        stream=streams,
        cuts=st.lists(st.integers(0, 2000), max_size=4),
        pad=st.none() | st.integers(0, 30),
        last=st.booleans(),
    )
    def end(self, stream: int, cuts: list[int], pad: int | None, last: bool) -> None:
        if not self.live(stream):
            return
        whole = message(self.sent[stream])
        places = sorted({0, len(whole), *(cut % len(whole) for cut in cuts)})
        for start, end in itertools.pairwise(places):
            self.client.h2.send_data(
                stream, whole[start:end], end_stream=last and end == len(whole), pad_length=pad
            )
        if not last:
            self.client.h2.end_stream(stream)
        self.ended.add(stream)

    @rule(stream=streams)
    def reset(self, stream: int) -> None:
        if stream in self.taken_back or self.client.of(stream, h2.events.StreamEnded):
            return
        self.client.h2.reset_stream(stream, 8)
        self.taken_back.add(stream)

    @rule(place=st.integers(0, 100), size=st.integers(0, 600), large=st.booleans())
    def answer(self, place: int, size: int, large: bool) -> None:
        open_ = [r.stream for r in self.client.requests if r.stream not in self.expected]
        if open_:
            stream = open_[place % len(open_)]
            self.number += 1
            self.expected[stream] = bytes([self.number % 256]) * (size * (100 if large else 1))
            self.client.server.respond(stream, self.expected[stream])

    @rule(window=st.sampled_from([0, 1, 50, 1000, 65_535, 200_000]))
    def resize(self, window: int) -> None:
        self.client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})

    @rule(increment=st.integers(1, 100_000))
    def widen(self, increment: int) -> None:
        self.client.h2.increment_flow_control_window(increment)

    @rule(stream=streams, increment=st.integers(1, 2000))
    def widen_stream(self, stream: int, increment: int) -> None:
        try:
            self.client.h2.increment_flow_control_window(increment, stream)
        except (h2.exceptions.StreamClosedError, KeyError):
            pass

    @rule()
    def ping(self) -> None:
        self.client.h2.ping(b"12345678")

    @rule(cut=st.sampled_from([1, 10, 1 << 20]))
    def exchange(self, cut: int) -> None:
        self.client.exchange(cut=cut)

    @invariant()
    def no_fault(self) -> None:
        assert not self.client.server.fault
        assert self.client.server._outbox.window >= 0

    def teardown(self) -> None:
        """Every call that was not taken back is answered to the end, and nothing is left over."""
        if not hasattr(self, "client"):
            return
        self.client.exchange()
        for request in self.client.requests:
            if request.stream not in self.expected:
                self.expected[request.stream] = b"last"
                self.client.server.respond(request.stream, b"last")
        # In this order: what waits for the connection's window must go on when it opens, by itself.
        self.client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1 << 24})
        self.client.exchange()
        self.client.h2.increment_flow_control_window(1 << 28)
        self.client.exchange()
        got = {request.stream: request.message for request in self.client.requests}
        for stream in self.ended - self.taken_back:
            assert got[stream] == self.sent[stream]
            assert self.client.body(stream) == message(self.expected[stream])
            assert self.client.status(stream) == ("0", "")
        unfinished = set(self.sent) - self.ended - self.taken_back
        assert set(self.client.server._streams) == unfinished


Legal.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestLegal = Legal.TestCase
