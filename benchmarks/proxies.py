"""Simulated proxies: many ADS streams, each on its own TCP connection, in one epoll loop.

Run as `python -m benchmarks.proxies PORT COUNT delta|sotw NAMES.json`; `fanout` talks to it by lines. It says
`ready` once every stream has been served and it has been quiet for a while. `arm TYPE` (answered `armed`)
starts a count; when every stream has ACKed a response of that type it prints a JSON line with the monotonic
time of the first and the last ACK.
"""

from __future__ import annotations

import json
import resource
import select
import socket
import sys
import time
from pathlib import Path

from benchmarks import wire


class Stream:
    """One proxy. `feed` takes bytes off the socket and answers what is to be answered."""

    __slots__ = (
        "_buffer",
        "_delta",
        "_message",
        "_names",
        "_waiting",
        "_windows",
        "number",
        "received",
        "responses",
        "sock",
    )

    def __init__(self, port: int, number: int, delta: bool, names: dict[str, tuple[str, ...]]) -> None:
        self.sock = _connect(port)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = number
        self._buffer = b""
        self._message = b""
        self._waiting = b""
        self._windows = [65535, 65535]  # what the server still takes: of the connection, of the stream
        self._delta = delta
        self._names = names
        self.received = 0
        self.responses: dict[bytes, int] = {}
        subscribe = wire.delta_subscribe if delta else wire.sotw_subscribe
        who = wire.node(number)
        self.sock.sendall(wire.hello("DeltaAggregatedResources" if delta else "StreamAggregatedResources"))
        for type_url, wanted in names.items():
            self._send(wire.message(subscribe(type_url, wanted, who)))
            who = b""

    def _send(self, data: bytes) -> None:
        """Sends as much as the server's windows let through; the rest goes when they open."""
        self._waiting += data
        size = min(len(self._waiting), *self._windows)
        if size <= 0:
            return
        now, self._waiting = self._waiting[:size], self._waiting[size:]
        self._windows = [window - size for window in self._windows]
        self.sock.sendall(b"".join(wire.frames(now)))

    def feed(self) -> list[bytes]:
        """The type URLs of the responses that were ACKed."""
        data = self.sock.recv(262144)
        if not data:
            raise ConnectionResetError("the server ended a stream")
        self._buffer = data = self._buffer + data if self._buffer else data
        at, acked, control, answers = 0, [], b"", b""
        while len(data) - at >= 9:
            size = int.from_bytes(data[at : at + 3], "big")
            if len(data) - at - 9 < size:
                break
            kind, flags, stream = data[at + 3], data[at + 4], data[at + 8]
            payload = data[at + 9 : at + 9 + size]
            at += 9 + size
            if kind == wire.DATA:
                self.received += size
                self._message += payload
                more, types = self._messages()
                answers += more
                acked += types
            elif kind == wire.WINDOW:
                self._windows[stream] += int.from_bytes(payload, "big")
            elif kind == wire.SETTINGS and not flags & 1:
                control += wire.frame(wire.SETTINGS, 1, 0)
                self._windows[1] += wire.initial_window(payload) - 65535
            elif kind == wire.PING and not flags & 1:
                control += wire.frame(wire.PING, 1, 0, payload)
            elif kind in (wire.RST, wire.GOAWAY):
                raise ConnectionResetError(f"the server ended a stream: {payload!r}")
        self._buffer = data[at:]
        if self.received > 2**29:
            more = self.received.to_bytes(4, "big")
            control += wire.frame(wire.WINDOW, 0, 0, more) + wire.frame(wire.WINDOW, 0, 1, more)
            self.received = 0
        if control:
            self.sock.sendall(control)
        if answers or self._waiting:
            self._send(answers)
        return acked

    def _messages(self) -> tuple[bytes, list[bytes]]:
        """ACKs for every complete response, and their types."""
        out, types = b"", []
        while len(self._message) >= 5:
            size = int.from_bytes(self._message[1:5], "big")
            if len(self._message) < 5 + size:
                break
            type_url = nonce = version = b""
            for number, value in wire.fields(self._message[5 : 5 + size]):
                if number == 4:
                    type_url = value
                elif number == 5:
                    nonce = value
                elif number == 1:
                    version = value
            self._message = self._message[5 + size :]
            if self._delta:
                ack = wire.delta_ack(type_url, nonce)
            else:
                ack = wire.sotw_ack(type_url, nonce, version, self._names[type_url.decode()])
            out += wire.message(ack)
            types.append(type_url)
            self.responses[type_url] = self.responses.get(type_url, 0) + 1
        return out, types


def _connect(port: int) -> socket.socket:
    """Waits for a server that is not up yet, like a proxy does, but with shorter pauses."""
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 30)
        except ConnectionRefusedError:
            time.sleep(0.01)


def main(port: int, count: int, mode: str, names: dict[str, tuple[str, ...]]) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    poll = select.epoll()
    poll.register(sys.stdin.fileno(), select.EPOLLIN)
    streams: dict[int, Stream] = {}
    served = 0
    last_news = time.monotonic()
    announced = False
    armed: bytes | None = None
    waiting: set[int] = set()
    first = 0.0
    number = 0
    while True:
        # A few at a time: no proxy fleet connects within a millisecond, and the backlog is finite.
        for _ in range(min(20, count - number)):
            stream = Stream(port, number, mode == "delta", names)
            streams[stream.sock.fileno()] = stream
            poll.register(stream.sock.fileno(), select.EPOLLIN)
            number += 1
        for fd, _ in poll.poll(0.05 if number == count else 0.001):
            if fd == sys.stdin.fileno():
                line = sys.stdin.readline().split()
                if not line:
                    return
                armed, waiting, first = line[1].encode(), set(streams), 0.0
                print("armed", flush=True)
                continue
            stream = streams[fd]
            before = len(stream.responses)
            try:
                acked = stream.feed()
            except ConnectionError:
                if stream.responses:
                    raise
                # Too early: a control plane that has not read everything yet turns streams away.
                del streams[fd]
                stream.sock.close()
                time.sleep(0.02)
                stream = Stream(port, stream.number, mode == "delta", names)
                streams[stream.sock.fileno()] = stream
                poll.register(stream.sock.fileno(), select.EPOLLIN)
                continue
            if acked:
                last_news = time.monotonic()
            served += len(stream.responses) - before
            if armed is not None and armed in acked and fd in waiting:
                waiting.discard(fd)
                first = first or last_news
                if not waiting:
                    print(json.dumps({"first": first, "last": last_news}), flush=True)
                    armed = None
        if (
            not announced
            and number == count
            and served == count * len(names)
            and time.monotonic() - last_news > 0.7
        ):
            announced = True
            print(json.dumps({"served": last_news}), flush=True)


if __name__ == "__main__":
    wanted = json.loads(Path(sys.argv[4]).read_text())
    main(
        int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], {key: tuple(value) for key, value in wanted.items()}
    )
